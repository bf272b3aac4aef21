"""Named tokens with scopes of their own, and callers who prove nothing.

A bare gateway knows one secret for everybody, so its column shows what a holder
of that secret gets.
"""

import secrets

import pytest

from tests.e2e.environment import Side, case
from tests.support.clients import raw
from tests.support.shim import bearer

READ_ONLY = ("x-openclaw-scopes", "operator.read")


@case("reader.models")
def test_reader_lists_models(env, row):
    _, through = row.both(env, lambda side: side.models(who=side.reader))
    assert through.status == 200, f"got {through.brief()}"


FORBIDDEN = {
    "chat": ("/v1/chat/completions", "operator.write"),
    "responses": ("/v1/responses", "operator.write"),
    "embeddings": ("/v1/embeddings", "operator.write"),
    "tools": ("/tools/invoke", "operator.write"),
    "kill": ("/sessions/x/kill", "operator.admin"),
}


@case("reader.{name}{said}")
@pytest.mark.parametrize(("said", "headers"), [("", []), ("-header", [READ_ONLY])], ids=["no header", "narrowing header"])
@pytest.mark.parametrize("name", FORBIDDEN)
def test_reader_cannot(env, row, name, said, headers):
    path, scope = FORBIDDEN[name]
    _, through = row.both(env, lambda side: side.post(path, {}, *headers, who=side.reader))
    row.refused(through, 403, f"missing scope: {scope}")


@case("reader.excess")
def test_reader_asks_for_more(env, row):
    header = ("x-openclaw-scopes", "operator.read,operator.write")
    _, through = row.both(env, lambda side: side.models(header, who=side.reader))
    row.refused(through, 403, "operator.write")


@case("open-webui.chat")
def test_open_webui_chats(env, row):
    row.bare = env.bare.chat_gate().brief()
    through = env.through.chat(who=bearer("open-webui"))
    row.through = through.brief()
    assert through.status == 200, f"got {through.brief()}"


def _unauthenticated(env, row, credential):
    _, through = row.both(env, lambda side: side.models(who=credential))
    row.refused(through, 401)
    challenge = through.header("www-authenticate") or ""
    assert challenge.lower().startswith("bearer"), f"WWW-Authenticate is {challenge!r}"
    url, upstream = env.mirror
    seen = len(upstream.asked)
    again = Side(url, [], []).models(who=credential)
    assert again.status == 401, f"in front of another gateway: {again.brief()}"
    assert len(upstream.asked) == seen, "the gateway was asked"


@case("unauthenticated.bad-token")
def test_bad_token(env, row):
    _unauthenticated(env, row, [("authorization", f"Bearer {secrets.token_hex(20)}")])


@case("unauthenticated.no-token")
def test_no_token(env, row):
    _unauthenticated(env, row, [])


@case("unauthenticated.upgrade")
def test_upgrade_with_bad_token(env, row):
    headers = [("authorization", f"Bearer {secrets.token_hex(20)}"), ("upgrade", "websocket"),
               ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]
    lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", *(f"{key}: {value}" for key, value in headers)]
    message = ("\r\n".join(lines) + "\r\n\r\n").encode()
    row.bare = str(raw(env.bare.url, message).status)
    url, upstream = env.mirror
    seen = len(upstream.asked)
    through = raw(url, message)
    row.through = through.brief()
    assert through.status in (401, 403, 501), f"got {through.brief()}"
    assert through.json() is not None, f"not JSON: {through.body[:100]!r}"
    assert len(upstream.asked) == seen, "the gateway was asked"
