"""Report 57331: the JWT whose scope claim the gateway never read. Its tokens are made by libraries that have
nothing to do with the one under test: PyJWT, jose, and a real OpenID provider."""

import contextlib

from tests.e2e.environment import case
from tests.support import install, jwts as tokens
from tests.support.clients import Curl, request
from tests.support.outcomes import NotAvailable

NODE = "22"


def _bearer(token):
    return [("authorization", f"Bearer {token}")]


def _made(env):
    if "made" not in env.memory:
        env.memory["made"] = tokens.Made(install.node(NODE))
    return env.memory["made"]


def _provider(env):
    if "provider" not in env.memory:
        folder = env.folder / "provider"
        folder.mkdir()
        provider = tokens.Provider(install.node(NODE), folder)
        env.at_end(provider.stop)
        env.memory["provider"] = provider
    return env.memory["provider"]


@contextlib.contextmanager
def _by_files(env):
    made = _made(env)
    with env.other_shim(made.tables(env.folder)) as side:
        yield side, made


@contextlib.contextmanager
def _by_discovery(env):
    provider = _provider(env)
    with env.other_shim(provider.table()) as side:
        yield side, provider


def _responses(env, row, side, token):
    """The stream of the report, through scopeshim and to the bare gateway."""
    body = {"model": "openclaw", "input": "count to six", "stream": True}
    answer = request("POST", f"{env.bare.url}/v1/responses", _bearer(token), body)
    row.bare = answer.brief()
    with Curl(f"{side.url}/v1/responses", _bearer(token), body) as curl:
        curl.read()
        row.through = str(curl.status)
        assert curl.status == 200, f"got {curl.text()[-300:]}"
        assert any('"response.completed"' in text for _, text in curl.data()), "no response.completed"
        assert curl.data()[-1][1] == "[DONE]", f"ends in {curl.data()[-1][1][:80]}"


def _models(env, row, side, token):
    if env.key < (2026, 3, 24):
        raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
    row.bare = env.bare.models(who=_bearer(token)).brief()
    answer = side.models(who=_bearer(token))
    row.through = answer.brief()
    assert answer.status == 200, f"got {answer.brief()}"
    value = answer.json()
    assert isinstance(value, dict) and value.get("object") == "list" and value.get("data"), "no list of models"


def _cannot_post(row, side, token):
    listed = side.models(who=_bearer(token))
    assert listed.status == 200, f"it cannot even read: {listed.brief()}"
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
    assert not wrong, f"refused: {wrong}"


@case("jwt.responses")
def test_responses_with_a_jwt(env, row):
    with _by_files(env) as (side, made):
        _responses(env, row, side, made.pyjwt["RS256"])


@case("jwt.models")
def test_models_with_a_jwt(env, row):
    with _by_files(env) as (side, made):
        _models(env, row, side, made.pyjwt["ES256"])


@case("jwt.read-only")
def test_reader_cannot_post(env, row):
    made = tokens.Made(install.node(NODE), scope="operator.read")
    with env.other_shim(made.tables(env.folder)) as side:
        _cannot_post(row, side, made.jose["EdDSA"])
    # The next case writes its own.
    env.memory.pop("made", None)


@case("jwt.all-pyjwt")
def test_every_algorithm_of_pyjwt(env, row):
    with _by_files(env) as (side, made):
        _all(row, side, made.pyjwt)


@case("jwt.all-jose")
def test_every_algorithm_of_jose(env, row):
    with _by_files(env) as (side, made):
        _all(row, side, made.jose)


@case("jwt.bad")
def test_bad_tokens(env, row):
    with _by_files(env) as (side, made):
        expired, forged = (side.models(who=_bearer(token)) for token in (made.expired, made.forged))
        row.through = f"{expired.status} {expired.message()[:40]} | {forged.status} {forged.message()[:60]}"
        row.refused(expired, 401, "expired at 2001-09-09")
        row.refused(forged, 401, "signature")
        for answer in (expired, forged):
            assert 'error="invalid_token"' in (answer.header("www-authenticate") or ""), "no invalid_token"


@case("oidc.responses")
def test_responses_with_a_provider_s_token(env, row):
    with _by_discovery(env) as (side, provider):
        _responses(env, row, side, provider.token())


@case("oidc.models")
def test_models_with_a_provider_s_token(env, row):
    with _by_discovery(env) as (side, provider):
        _models(env, row, side, provider.token())


@case("oidc.read-only")
def test_provider_s_reader_cannot_post(env, row):
    with _by_discovery(env) as (side, provider):
        _cannot_post(row, side, provider.token("operator.read"))


@case("oidc.all")
def test_every_algorithm_of_the_provider(env, row):
    with _by_discovery(env) as (side, provider):
        _all(row, side, {alg: provider.token(alg=alg) for alg in ("RS256", "PS256", "ES256", "EdDSA")})
