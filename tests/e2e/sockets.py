"""WebSockets to the gateway: who connects with which credential, and what the connection may do."""

import contextlib
import secrets

from tests.support.outcomes import NotAvailable
from tests.support.shim import TOKENS
from tests.support.wsclient import Closed, Refused, Socket

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
# Answers at once where it is allowed: it is refused for its parameters then.
ADMIN_CALL = ("config.patch", {"raw": 7})


def ws(side):
    return side.url.replace("http://", "ws://")


def need_sockets(env):
    if env.mode.name == "trusted-proxy" and env.key < (2026, 3, 24):
        raise NotAvailable("this release pairs no device in mode trusted-proxy, and its own commands are kept out too")


def credential(env, name=None):
    """What goes into the connect frame: a named token, or what a bare client has."""
    need_sockets(env)
    if name:
        return {"token": TOKENS[name]}
    return {env.mode.name: env.mode.secret} if env.mode.secret else None


def owner(env, side):
    """The credential of whoever may do everything on this side."""
    return credential(env, None if env.mode.secret or side.url == env.bare.url else "owner")


@contextlib.contextmanager
def session(side, headers=(), path="", **connect):
    with Socket(ws(side) + path, headers) as sock:
        sock.hello = sock.connect(**connect)
        yield sock


def attempt(act):
    """What came of it, in words."""
    try:
        return act()
    except (Closed, Refused) as why:
        return str(why)


def lists_sessions(side, **connect):
    def act():
        with session(side, **connect) as sock:
            ok, said = sock.call("sessions.list")
            return "ok" if ok else said
    return attempt(act)


def limited(sock, can_write=False):
    ok, said = sock.call("sessions.list")
    assert ok, f"sessions.list: {said}"
    ok, said = sock.call(*ADMIN_CALL)
    assert not ok and "missing scope: operator.admin" in said, f"an admin action: {said}"
    ok, said = sock.call("chat.send", {"sessionKey": "main", "idempotencyKey": secrets.token_hex(8)})
    refused = not ok and "missing scope: operator.write" in str(said)
    assert refused != can_write, f"chat.send: {said}"
    auth = sock.hello.get("auth") or {}
    assert "deviceToken" not in auth and "deviceTokens" not in auth, "the device token was not taken out"
    assert ADMIN not in auth.get("scopes", []), f"the hello says {auth}"
