"""What the gateway sees: hostile requests sent by raw socket, judged by the bytes that arrive."""

import pytest

from tests.e2e.environment import case
from tests.support.clients import raw
from tests.support.shim import TOKENS, bearer

ALLOWED = {"x-openclaw-scopes", "x-openclaw-agent-id", "x-openclaw-model", "x-openclaw-session-key",
           "x-openclaw-message-channel"}
FORBIDDEN = ("x-forwarded-", "forwarded", "x-real-ip", "tailscale-", "cf-access-", "cookie")
SMUGGLED = (b"smuggled-scope", b"smuggled-bearer")


def _ask(url, upstream, credential, lines, method, path, body):
    """(answer, what arrived or None)."""
    seen = len(upstream.asked)
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"] + [f"{name}: {value}" for name, value in credential]
    answer = raw(url, ("\r\n".join([*head, *lines]) + "\r\n\r\n").encode("latin-1") + body)
    arrived = upstream.asked[seen:]
    assert len(arrived) <= 1, f"{len(arrived)} requests arrived for one"
    return answer, (arrived[0] if arrived else None)


def _hostile(env, row, lines, scopes, who="reader", method="GET", path="/v1/models", body=b"", must_arrive=False):
    url, upstream = env.mirror
    _, direct = _ask(upstream.url, upstream, env.mode.bare_headers or bearer(who), lines, method, path, body)
    row.bare = _fault(env, direct, scopes, "bare") or "nothing to object to"
    answer, arrived = _ask(url, upstream, bearer(who), lines, method, path, body)
    if arrived is None:
        row.through = f"{answer.brief()}, nothing arrives"
        assert not must_arrive, f"did not arrive: {answer.brief()}"
        assert 400 <= answer.status < 500, f"did not arrive, yet the answer is {answer.brief()}"
        return
    fault = _fault(env, arrived, scopes, _principal(env, who))
    row.through = fault or f"{answer.status}, arrives clean"
    assert not fault, fault


def _principal(env, who):
    return "gateway-secret" if who == "owner" and env.mode.secret else who


def _fault(env, arrived, scopes, principal):
    """The first thing wrong with the bytes that arrived."""
    found = arrived.all("x-openclaw-scopes")
    if len(found) != 1:
        return f"{len(found)} x-openclaw-scopes headers: {found}"
    if sorted(filter(None, found[0].split(","))) != sorted(scopes):
        return f"scopes sent: {found[0]!r}"
    proof = env.mode.sent(principal)
    for name in {"authorization", *proof}:
        if arrived.all(name) != [value for key, value in proof.items() if key == name]:
            return f"{name} is not what proves this proxy: {arrived.all(name)}"
    if any(token.encode() in arrived.raw for token in TOKENS.values()):
        return "a client's token arrived"
    if any(word in arrived.raw for word in SMUGGLED):
        return "a smuggled piece arrived"
    for name in arrived.names():
        plain = name.replace("_", "-").replace(".", "-")
        foreign = (plain.startswith(FORBIDDEN) and name not in proof) or (plain.startswith("x-openclaw-") and name not in ALLOWED)
        if foreign or (plain == "authorization" and name != plain):
            return f"{name} arrived"
    return None


# Name, header lines, what differs from a reader whose request may be refused.
HOSTILE = [
    ("plain", [], {"must_arrive": True}),
    ("forged-identity", [
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-User: root", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil",
        "X-Forwarded-Anything:", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9", "Tailscale-User-Login: root@example.org",
        "Tailscale-User-Name: root", "Cf-Access-Jwt-Assertion: a.b.c", "Cf-Access-Authenticated-User-Email: root@example.org",
    ], {"must_arrive": True}),
    ("forged-openclaw", [
        "X-OpenClaw-Token: forged", "X-OpenClaw-Device-Id: forged", "X-OpenClaw-Client-Id: openclaw-control-ui",
        "X-OpenClaw-Nonsense: forged", "X-OpenClaw-Message-Channel: webchat",
    ], {"must_arrive": True}),
    ("aliases-underscore", [
        "x_openclaw_scopes: operator.admin", "x-openclaw_scopes: operator.admin", "X_Forwarded_For: 203.0.113.9",
        "x_real_ip: 203.0.113.9", "tailscale_user_login: root@example.org", "cf_access_jwt_assertion: a.b.c",
    ]),
    ("aliases-dot", [
        "x.openclaw.scopes: operator.admin", "x-openclaw.scopes: operator.admin", "X.Forwarded.For: 203.0.113.9",
        "tailscale.user.login: root@example.org",
    ]),
    ("nominated-scopes", ["Connection: close, x-openclaw-scopes"]),
    ("nominated-authorization", ["Connection: authorization, x-openclaw-scopes, host"]),
    ("two-lines", ["x-openclaw-scopes: operator.read", "x-openclaw-scopes: operator.read"], {"must_arrive": True}),
    ("empty-and-more", ["x-openclaw-scopes:", "x-openclaw-scopes: operator.read"]),
    ("widened-by-second-line", ["x-openclaw-scopes: operator.read", "X-OpenClaw-Scopes: operator.admin"]),
    ("second-authorization", ["Authorization: Bearer second-credential-that-is-long"]),
    ("owner-narrowed", ["x-openclaw-scopes: operator.read"], {"who": "owner", "must_arrive": True}),
    ("folded-line", ["x-openclaw-scopes: operator.read,", " operator.admin"]),
]


@case("upstream.{name}")
@pytest.mark.parametrize(("name", "lines", "more"), [(*entry, {})[:3] for entry in HOSTILE], ids=[entry[0] for entry in HOSTILE])
def test_hostile_headers(env, row, name, lines, more):
    _hostile(env, row, lines, ["operator.read"], **more)


WEB_UI = ["operator.read", "operator.write"]


@case("upstream.trailers")
def test_trailers(env, row):
    trailer = b"x-openclaw-scopes: smuggled-scope\r\nauthorization: Bearer smuggled-bearer\r\n"
    body = b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n"
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked", "Trailer: x-openclaw-scopes, authorization"]
    _hostile(env, row, lines, WEB_UI, "open-webui", "POST", "/v1/chat/completions", body)


@case("upstream.one-for-one")
def test_second_request_behind_the_body(env, row):
    """Bytes after the body are the client's next request, never part of this one."""
    body = b"{}GET /v1/models HTTP/1.1\r\nHost: x\r\nx-openclaw-scopes: smuggled-scope\r\nConnection: close\r\n\r\n"
    lines = ["Content-Type: application/json", "Content-Length: 2", "Connection: close"]
    _hostile(env, row, lines, WEB_UI, "open-webui", "POST", "/v1/chat/completions", body, must_arrive=True)
