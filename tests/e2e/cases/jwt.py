"""Report 57331: the JWT whose scope claim the gateway never read. Its tokens are made by libraries that have
nothing to do with the one under test: PyJWT, jose, and a real OpenID provider."""

import contextlib

from tests.support import install
from tests.support import jwts as tokens
from tests.e2e.base import NotAvailable, case
from tests.support.clients import Curl, request

NODE = "22"


def _bearer(token):
    return [("authorization", f"Bearer {token}")]


def _made(ctx):
    if "made" not in ctx.memory:
        ctx.memory["made"] = tokens.Made(install.node(NODE))
    return ctx.memory["made"]


def _provider(ctx):
    if "provider" not in ctx.memory:
        folder = ctx.folder / "provider"
        folder.mkdir()
        provider = tokens.Provider(install.node(NODE), folder)
        ctx.at_end(provider.stop)
        ctx.memory["provider"] = provider
    return ctx.memory["provider"]


@contextlib.contextmanager
def _by_files(ctx):
    made = _made(ctx)
    with ctx.other_shim(made.tables(ctx.folder)) as side:
        yield side, made


@contextlib.contextmanager
def _by_discovery(ctx):
    provider = _provider(ctx)
    with ctx.other_shim(provider.table()) as side:
        yield side, provider


def _responses(ctx, row, side, token):
    """The stream of the report, through scopeshim and to the bare gateway."""
    body = {"model": "openclaw", "input": "count to six", "stream": True}
    answer = request("POST", f"{ctx.bare.url}/v1/responses", _bearer(token), body)
    row.bare = answer.brief()
    with Curl(f"{side.url}/v1/responses", _bearer(token), body) as curl:
        curl.read()
        row.through = str(curl.status)
        row.need(curl.status == 200, f"got {curl.text()[-300:]}")
        row.need(any('"response.completed"' in text for _, text in curl.data()), "no response.completed")
        row.need(curl.data()[-1][1] == "[DONE]", f"ends in {curl.data()[-1][1][:80]}")


def _models(ctx, row, side, token):
    if ctx.key < (2026, 3, 24):
        raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
    row.bare = ctx.bare.models(who=_bearer(token)).brief()
    answer = side.models(who=_bearer(token))
    row.through = answer.brief()
    row.need(answer.status == 200, f"got {answer.brief()}")
    value = answer.json()
    row.need(isinstance(value, dict) and value.get("object") == "list" and value.get("data"), "no list of models")


def _cannot_post(row, side, token):
    listed = side.models(who=_bearer(token))
    row.need(listed.status == 200, f"it cannot even read: {listed.brief()}")
    for path in ("/v1/responses", "/v1/chat/completions"):
        answer = side.post(path, {"model": "openclaw", "input": "x"}, who=_bearer(token))
        row.through = answer.brief()
        row.refused(answer, 403, "missing scope: operator.write")
        asking = side.post(path, {}, ("x-openclaw-scopes", "operator.write"), who=_bearer(token))
        row.refused(asking, 403, "operator.write")


def _all(row, side, made):
    statuses = {alg: side.models(who=_bearer(token)).status for alg, token in made.items()}
    wrong = {alg: status for alg, status in statuses.items() if status != 200}
    row.through = f"{len(statuses) - len(wrong)} of {len(statuses)} algorithms"
    row.need(not wrong, f"refused: {wrong}")


@case("jwt.responses")
def responses_with_a_jwt(ctx, row):
    with _by_files(ctx) as (side, made):
        _responses(ctx, row, side, made.pyjwt["RS256"])


@case("jwt.models")
def models_with_a_jwt(ctx, row):
    with _by_files(ctx) as (side, made):
        _models(ctx, row, side, made.pyjwt["ES256"])


@case("jwt.read-only")
def reader_cannot_post(ctx, row):
    made = tokens.Made(install.node(NODE), scope="operator.read")
    with ctx.other_shim(made.tables(ctx.folder)) as side:
        _cannot_post(row, side, made.jose["EdDSA"])
    # The next case writes its own.
    ctx.memory.pop("made", None)


@case("jwt.all-pyjwt")
def every_algorithm_of_pyjwt(ctx, row):
    with _by_files(ctx) as (side, made):
        _all(row, side, made.pyjwt)


@case("jwt.all-jose")
def every_algorithm_of_jose(ctx, row):
    with _by_files(ctx) as (side, made):
        _all(row, side, made.jose)


@case("jwt.bad")
def bad_tokens(ctx, row):
    with _by_files(ctx) as (side, made):
        expired, forged = (side.models(who=_bearer(token)) for token in (made.expired, made.forged))
        row.through = f"{expired.status} {expired.message()[:40]} | {forged.status} {forged.message()[:60]}"
        row.refused(expired, 401, "expired at 2001-09-09")
        row.refused(forged, 401, "signature")
        for answer in (expired, forged):
            row.need('error="invalid_token"' in (answer.header("www-authenticate") or ""), "no invalid_token")


@case("oidc.responses")
def responses_with_a_provider_s_token(ctx, row):
    with _by_discovery(ctx) as (side, provider):
        _responses(ctx, row, side, provider.token())


@case("oidc.models")
def models_with_a_provider_s_token(ctx, row):
    with _by_discovery(ctx) as (side, provider):
        _models(ctx, row, side, provider.token())


@case("oidc.read-only")
def provider_s_reader_cannot_post(ctx, row):
    with _by_discovery(ctx) as (side, provider):
        _cannot_post(row, side, provider.token("operator.read"))


@case("oidc.all")
def every_algorithm_of_the_provider(ctx, row):
    with _by_discovery(ctx) as (side, provider):
        _all(row, side, {alg: provider.token(alg=alg) for alg in ("RS256", "PS256", "ES256", "EdDSA")})
