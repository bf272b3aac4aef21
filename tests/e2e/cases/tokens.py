"""Named tokens with scopes of their own, and callers who prove nothing.

A bare gateway knows one secret for everybody, so its column shows what a holder
of that secret gets.
"""

import secrets

from tests.e2e.base import Side, case
from tests.support.clients import raw
from tests.support.shim import bearer

READ_ONLY = ("x-openclaw-scopes", "operator.read")


@case("reader.models")
def reader_lists_models(ctx, row):
    _, through = row.both(ctx, lambda side: side.models(who=side.reader))
    row.need(through.status == 200, f"got {through.brief()}")


def _cannot(name, path, scope, *headers):
    @case(name)
    def run(ctx, row):
        _, through = row.both(ctx, lambda side: side.post(path, {}, *headers, who=side.reader))
        row.refused(through, 403, f"missing scope: {scope}")


for _name, _path, _scope in (
    ("chat", "/v1/chat/completions", "operator.write"),
    ("responses", "/v1/responses", "operator.write"),
    ("embeddings", "/v1/embeddings", "operator.write"),
    ("tools", "/tools/invoke", "operator.write"),
    ("kill", "/sessions/x/kill", "operator.admin"),
):
    _cannot(f"reader.{_name}", _path, _scope)
    _cannot(f"reader.{_name}-header", _path, _scope, READ_ONLY)


@case("reader.excess")
def reader_asks_for_more(ctx, row):
    header = ("x-openclaw-scopes", "operator.read,operator.write")
    _, through = row.both(ctx, lambda side: side.models(header, who=side.reader))
    row.refused(through, 403, "operator.write")


@case("open-webui.chat")
def open_webui_chats(ctx, row):
    row.bare = ctx.bare.chat_gate().brief()
    through = ctx.through.chat(who=bearer("open-webui"))
    row.through = through.brief()
    row.need(through.status == 200, f"got {through.brief()}")


def _unproven(ctx, row, credential):
    _, through = row.both(ctx, lambda side: side.models(who=credential))
    row.refused(through, 401)
    challenge = through.header("www-authenticate") or ""
    row.need(challenge.lower().startswith("bearer"), f"WWW-Authenticate is {challenge!r}")
    url, upstream = ctx.mirror
    seen = len(upstream.asked)
    again = Side(url, [], []).models(who=credential)
    row.need(again.status == 401, f"in front of another gateway: {again.brief()}")
    row.need(len(upstream.asked) == seen, "the gateway was asked")


@case("unproven.bad-token")
def bad_token(ctx, row):
    _unproven(ctx, row, [("authorization", f"Bearer {secrets.token_hex(20)}")])


@case("unproven.no-token")
def no_token(ctx, row):
    _unproven(ctx, row, [])


@case("unproven.upgrade")
def upgrade_with_bad_token(ctx, row):
    headers = [("authorization", f"Bearer {secrets.token_hex(20)}"), ("upgrade", "websocket"),
               ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]
    lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", *(f"{key}: {value}" for key, value in headers)]
    message = ("\r\n".join(lines) + "\r\n\r\n").encode()
    row.bare = str(raw(ctx.bare.url, message).status)
    url, upstream = ctx.mirror
    seen = len(upstream.asked)
    through = raw(url, message)
    row.through = through.brief()
    row.need(through.status in (401, 403, 501), f"got {through.brief()}")
    row.need(through.json() is not None, f"not JSON: {through.body[:100]!r}")
    row.need(len(upstream.asked) == seen, "the gateway was asked")
