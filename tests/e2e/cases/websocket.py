"""Sockets: who keeps which scopes, and who is kept out (report 46716, PR 57889)."""

import contextlib
import hashlib
import json
import secrets
import subprocess
import shutil
import time

from tests.support import clients
from tests.e2e.base import NotAvailable, Skip, case
from tests.support.shim import TOKENS, bearer
from tests.support.wsclient import Closed, Refused, Socket

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
# Answers at once where it is allowed: it is refused for its parameters then.
ADMIN_CALL = ("config.patch", {"raw": 7})


def ws(side):
    return side.url.replace("http://", "ws://")


def need_sockets(ctx):
    if ctx.mode.name == "trusted-proxy" and ctx.key < (2026, 3, 24):
        raise NotAvailable("this release pairs no device in mode trusted-proxy, and its own commands are kept out too")


def credential(ctx, name=None):
    """What goes into the connect frame: a named token, or what a bare client has."""
    need_sockets(ctx)
    if name:
        return {"token": TOKENS[name]}
    return {ctx.mode.name: ctx.mode.secret} if ctx.mode.secret else None


def owner(ctx, side):
    """The credential of whoever may do everything on this side."""
    return credential(ctx, None if ctx.mode.secret or side.url == ctx.bare.url else "owner")


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


def lists_sessions(ctx, row, side, **connect):
    def act():
        with session(side, **connect) as sock:
            ok, said = sock.call("sessions.list")
            return "ok" if ok else said
    return attempt(act)


def keeps(name, client, mode, scopes):
    @case(name)
    def run(ctx, row):
        connect = {"client": client, "mode": mode, "scopes": scopes}
        row.bare = lists_sessions(ctx, row, ctx.bare, auth=owner(ctx, ctx.bare), **connect)
        row.through = lists_sessions(ctx, row, ctx.through, auth=owner(ctx, ctx.through), **connect)
        row.need(row.through == "ok", row.through)
        with session(ctx.through, auth=owner(ctx, ctx.through), **connect) as sock:
            ok, said = sock.call(*ADMIN_CALL)
            row.need("missing scope" not in str(said), f"the owner is no admin: {said}")


keeps("46716.gateway-client", "gateway-client", "ui", [ADMIN])
keeps("46716.backend", "gateway-client", "backend", [ADMIN])
keeps("46716.cli", "cli", "cli", [ADMIN, READ, WRITE, "operator.approvals", "operator.pairing"])
keeps("46716.no-list", "gateway-client", "ui", None)


def limited(row, sock, can_write=False):
    ok, said = sock.call("sessions.list")
    row.need(ok, f"sessions.list: {said}")
    ok, said = sock.call(*ADMIN_CALL)
    row.need(not ok and "missing scope: operator.admin" in said, f"an admin action: {said}")
    ok, said = sock.call("chat.send", {"sessionKey": "main", "idempotencyKey": secrets.token_hex(8)})
    refused = not ok and "missing scope: operator.write" in str(said)
    row.need(refused != can_write, f"chat.send: {said}")
    auth = sock.hello.get("auth") or {}
    row.need("deviceToken" not in auth and "deviceTokens" not in auth, "the device token was not taken out")
    row.need(ADMIN not in auth.get("scopes", []), f"the hello says {auth}")


@case("ws.reader-asks-for-admin")
def reader_asks_for_admin(ctx, row):
    row.bare = lists_sessions(ctx, row, ctx.bare, auth=credential(ctx, "reader"))
    with session(ctx.through, auth=credential(ctx, "reader"), scopes=[ADMIN, READ, WRITE]) as sock:
        limited(row, sock)
    row.through = "read, and no more"


@case("ws.writer")
def writer(ctx, row):
    with session(ctx.through, auth=credential(ctx, "open-webui"), scopes=[ADMIN]) as sock:
        limited(row, sock, can_write=True)
    row.through = "read and write, and no more"


@case("ws.bearer-at-the-upgrade")
def bearer_at_the_upgrade(ctx, row):
    need_sockets(ctx)
    row.bare = lists_sessions(ctx, row, ctx.bare, headers=ctx.bare.owner)
    with session(ctx.through, ctx.through.reader, scopes=None) as sock:
        limited(row, sock)
    row.through = "read, and no more"


ROUTE_BOUND = """
[[grant]]
to = { token = "reader" }
scopes = ["operator.admin", "operator.pairing"]
routes = ["/tools/invoke"]

[[grant]]
to = { token = "open-webui" }
session_key = "prefix"
routes = ["/v1/chat/completions"]
"""
PATHS = ("/", "/tools/invoke", "/v1/chat/completions", "/ws")


@case("ws.route-bound-grant")
def route_bound_grant(ctx, row):
    """The path of an upgrade is the client's to choose: it changes nothing of what the socket may do."""
    need_sockets(ctx)
    with ctx.other_shim(ROUTE_BOUND) as side:
        for path in PATHS:
            with session(side, path=path, auth=credential(ctx, "reader"), scopes=[ADMIN]) as sock:
                limited(row, sock)
            with session(side, bearer("reader"), path=path, scopes=None) as sock:
                limited(row, sock)
            said = lists_sessions(ctx, row, side, path=path, auth=credential(ctx, "open-webui"))
            row.need("x-openclaw-session-key" in said, f"a rule was escaped at {path}: {said}")
        allowed = side.post("/tools/invoke", {}, who=bearer("reader"))
        row.need(allowed.status != 403, f"the grant does not count where it is for: {allowed.brief()}")
    row.through = "read at every path, and no socket past a rule for sessions"


@case("ws.scopes-header")
def scopes_header(ctx, row):
    headers = [("x-openclaw-scopes", READ)]
    with session(ctx.through, headers, auth=owner(ctx, ctx.through), scopes=[ADMIN]) as sock:
        limited(row, sock)
    row.through = "read, and no more"


@case("ws.none-asked")
def none_asked(ctx, row):
    with session(ctx.through, auth=owner(ctx, ctx.through), scopes=[]) as sock:
        ok, said = sock.call("sessions.list")
        row.need(not ok and "missing scope" in said, f"sessions.list: {said}")
    row.through = "nothing"


@case("ws.forged-device")
def forged_device(ctx, row):
    device = {"id": "00" * 32, "publicKey": "A" * 43, "signature": "A" * 86, "signedAt": int(time.time() * 1000),
              "nonce": "x"}

    def act(side, auth):
        return lists_sessions(ctx, row, side, auth=auth, device=device)

    row.bare = act(ctx.bare, owner(ctx, ctx.bare))
    with session(ctx.through, auth=credential(ctx, "reader"), scopes=[ADMIN], device=device) as sock:
        limited(row, sock)
    row.through = "read, and no more"


SIGN = """
const { createPublicKey, generateKeyPairSync, sign, createHash } = require("node:crypto");
const { params, nonce } = JSON.parse(require("node:fs").readFileSync(0));
const { privateKey } = generateKeyPairSync("ed25519");
const raw = createPublicKey(privateKey).export({ type: "spki", format: "der" }).subarray(-32);
const id = createHash("sha256").update(raw).digest("hex");
const signedAt = Date.now();
const { client, role, scopes = [], auth = {} } = params;
const said = ["v3", id, client.id, client.mode, role, scopes.join(","), signedAt, auth.token ?? "", nonce, client.platform, ""];
const signature = sign(null, said.join("|"), privateKey).toString("base64url");
console.log(JSON.stringify({ id, publicKey: raw.toString("base64url"), signature, signedAt, nonce }));
"""


def own_device(ctx):
    """A device that nobody knows yet, and that signs what its client says."""
    def sign(params, nonce):
        said = json.dumps({"params": params, "nonce": nonce})
        done = subprocess.run([ctx.gateway.node, "-e", SIGN], input=said, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    return sign


def need_secret(ctx):
    need_sockets(ctx)
    if not ctx.mode.secret:
        raise NotAvailable("in this mode the frame holds no secret that is judged")


def hello_scopes(ctx, side, headers=(), **connect):
    def act():
        with session(side, headers, client="cli", mode="cli", sign=own_device(ctx), **connect) as sock:
            return ",".join(sock.hello.get("auth", {}).get("scopes", ["?"]))
    return attempt(act)


@case("ws.passed-frame-scopes")
def passed_frame_scopes(ctx, row):
    """A client's own signed frame passes unchanged; nothing in its list is left out of the judgement."""
    need_secret(ctx)
    auth = {ctx.mode.name: ctx.mode.secret}
    row.bare = hello_scopes(ctx, ctx.bare, auth=auth, scopes=[READ, f"{ADMIN}\u00a0"])
    with ctx.other_shim('\n[websocket]\nown_device = "pass"\n') as side:
        who = bearer("reader")
        with session(side, who, client="cli", mode="cli", sign=own_device(ctx), auth=auth, scopes=[READ]) as sock:
            ok, said = sock.call("sessions.list")
            row.need(ok, f"sessions.list: {said}")
            ok, said = sock.call(*ADMIN_CALL)
            row.need(not ok and "missing scope: operator.admin" in said, f"an admin action: {said}")
        odd = (f"{ADMIN}\u00a0", f"\ufeff{ADMIN}", f"{ADMIN}\n", f" {ADMIN}", f"{READ},{ADMIN}", [ADMIN], {"0": ADMIN}, 7, None, "")
        for entry in odd:
            # Those that cannot be signed are sent with a signature over something else.
            listed = [READ, entry]
            sign = own_device(ctx) if isinstance(entry, str) else lambda _, nonce: own_device(ctx)(
                {"client": {"id": "cli", "mode": "cli", "platform": "test"}, "role": "operator"}, nonce)
            said = attempt(lambda: str(Socket(ws(side), who).connect("cli", "cli", listed, auth, sign)))
            row.need("exactly one scope name" in said, f"{entry!r}: {said}")
        said = hello_scopes(ctx, side, who, auth=auth, scopes=[ADMIN])
        row.need("scope not granted" in said, said)
    row.through = "read, and no more"


@case("ws.passed-frame-secrets")
def passed_frame_secrets(ctx, row):
    need_secret(ctx)
    auth = {ctx.mode.name: ctx.mode.secret}
    other = "password" if ctx.mode.name == "token" else "token"
    with ctx.other_shim('\n[websocket]\nown_device = "pass"\n') as side:
        names = (other, "deviceToken", "bootstrapToken", "approvalRuntimeToken", "agentRuntimeIdentityToken")
        for name in names:
            said = hello_scopes(ctx, side, bearer("reader"), auth={**auth, name: secrets.token_hex(16)}, scopes=[READ])
            row.need("no other credential" in said, f"{name}: {said}")
    row.through = "refused"


@case("ws.session-write")
def session_write(ctx, row):
    """Spelled out for the gateway's cap, which knows no implication."""
    need_sockets(ctx)
    if ctx.key < (2026, 9):
        raise NotAvailable("this release has no operator.sessions.write")
    token = secrets.token_hex(20)
    digest = hashlib.sha256(token.encode()).hexdigest()
    table = f'\n[[token]]\nname = "sessions"\nsha256 = "{digest}"\nscopes = ["operator.sessions.write"]\n'
    with ctx.other_shim(table) as side:
        with session(side, auth={"token": token}, scopes=["operator.sessions.write"]) as sock:
            kept = sock.hello["auth"]["scopes"]
            row.need(sorted(kept) == ["operator.sessions.read", "operator.sessions.write"], f"kept: {kept}")
            ok, said = sock.call("chat.history", {"sessionKey": "agent:main:main"})
            row.need("missing scope" not in str(said), f"chat.history: {said}")
            ok, said = sock.call(*ADMIN_CALL)
            row.need(not ok and "missing scope" in said, f"an admin action: {said}")
    row.through = "sessions.read and sessions.write"


@case("ws.incognito")
def incognito(ctx, row):
    need_sockets(ctx)
    if ctx.key < (2026, 9):
        raise NotAvailable("a connect request of this release names no session")
    catalog = {"sessionKey": "agent:main:dashboard:Incognito-1"}
    for name in ("reader", "open-webui"):
        said = lists_sessions(ctx, row, ctx.through, auth=credential(ctx, name), modelCatalog=catalog)
        row.need("operator.admin" in said, said)
    row.through = lists_sessions(ctx, row, ctx.through, auth=owner(ctx, ctx.through), modelCatalog=catalog)
    row.need(row.through == "ok", row.through)


@case("ws.silent-callers")
def silent_callers(ctx, row):
    """Whoever has the gateway's challenge and says nothing stalls nobody else."""
    need_secret(ctx)
    auth = {ctx.mode.name: ctx.mode.secret}
    silent = []
    with ctx.other_shim('\n[websocket]\nown_device = "pass"\n') as side:
        try:
            silent.extend(Socket(ws(side), bearer("reader")) for _ in range(20))
            began = time.monotonic()
            said = hello_scopes(ctx, side, bearer("open-webui"), auth=auth, scopes=[READ])
            took = time.monotonic() - began
        finally:
            for sock in silent:
                sock.close()
        row.need(READ in said, said)
        row.need(took < 8, f"it took {took:.1f} s")
    row.through = "connected"


@case("ws.node-needs-a-scope")
def node_needs_a_scope(ctx, row):
    need_secret(ctx)
    auth = {ctx.mode.name: ctx.mode.secret}

    def node(side, name):
        def act():
            with Socket(ws(side), bearer(name)) as sock:
                return str(sock.connect("node-host", "node", [], auth, own_device(ctx), role="node"))
        return attempt(act)

    with ctx.other_shim("\n[websocket]\nnodes = true\n") as side:
        for name in ("reader", "open-webui"):
            said = node(side, name)
            row.need("missing scope: operator.admin" in said, f"{name}: {said}")
        said = node(side, "owner")
        row.need("hello-ok" in said or "pairing" in said.lower(), said)
    row.through = "admins only"


@case("ws.node-role")
def node_role(ctx, row):
    row.through = lists_sessions(ctx, row, ctx.through, auth=owner(ctx, ctx.through), role="node")
    row.need("role" in row.through, row.through)


@case("ws.bad-token")
def bad_token(ctx, row):
    """Ten of them, from a page, and from no page; then a good one."""
    def ten(side):
        # Each is answered later than the last, up to 5 s.
        for _ in range(11):
            for headers in ([("Origin", side.url)],):
                attempt(lambda h=headers: lists_sessions(
                    ctx, row, side, headers=h, auth={"token": secrets.token_hex(20)}))
        origin = [("Origin", side.url)]
        return lists_sessions(ctx, row, side, headers=origin, auth=owner(ctx, side))

    if ctx.mode.secret:
        row.bare = ten(ctx.bare)
    row.through = ten(ctx.through)
    row.need(row.through == "ok", row.through)


@case("ws.idle-unproven")
def idle_unproven(ctx, row):
    def forty(side):
        idle = []
        try:
            for _ in range(40):
                try:
                    idle.append(Socket(ws(side)))
                except Refused:
                    pass
            return lists_sessions(ctx, row, side, auth=owner(ctx, side), client="cli", mode="cli")
        finally:
            for sock in idle:
                sock.close()

    row.through = forty(ctx.through)
    row.need(row.through == "ok", row.through)
    row.bare = forty(ctx.bare)


@case("ws.foreign-page")
def foreign_page(ctx, row):
    for headers in ([("Origin", "http://evil.example")], [("Origin", "null")]):
        said = lists_sessions(ctx, row, ctx.through, headers=headers, auth=owner(ctx, ctx.through))
        row.need("origin" in said, said)
    said = lists_sessions(ctx, row, ctx.through, auth=owner(ctx, ctx.through), client="openclaw-control-ui", mode="webchat")
    row.need("origin" in said, said)
    row.through = said


@case("ws.large-frames")
def large_frames(ctx, row):
    with session(ctx.through, auth=owner(ctx, ctx.through)) as sock:
        ok, said = sock.call("sessions.list", {"padding": "x" * (20 << 20)})
        row.need(not ok and "padding" in str(said), f"20 MiB: {str(said)[:200]}")
        sock.send({"type": "req", "id": "x", "method": "sessions.list", "params": {"padding": "x" * (26 << 20)}})
        code = sock.closed_within(20)
        row.need(code in (1009, 0), f"26 MiB: {code}")
    row.through = f"20 MiB answered, 26 MiB closed with {code}"


@case("ws.thousand")
def thousand(ctx, row):
    """Without scopes: a gateway tells each socket that may read of every other, which no gateway survives."""
    sockets = []
    try:
        begun = time.monotonic()
        for _ in range(1000):
            sock = Socket(ws(ctx.through))
            sockets.append(sock)
            sock.connect(auth=owner(ctx, ctx.through), scopes=[])
            if len(sockets) % 100 == 0:
                # A gateway ends a client that answers no ping for a minute, and nobody reads these meanwhile.
                for each in sockets:
                    each.send(b"", opcode=10)
        took = time.monotonic() - begun
        for sock in sockets[::50]:
            ok, said = sock.call("health")
            row.need(ok, f"health: {said}")
    finally:
        for sock in sockets:
            sock.close()
    row.through = f"{len(sockets)} open, {took:.1f} s"


UI = '\n[websocket]\nui = "open"\n'


@case("46716.control-ui")
def control_ui(ctx, row):
    """The gateway's page in a browser, with a named token that may read and write."""
    need_sockets(ctx)
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        raise Skip("no chromium here")

    def show(seen):
        refused = (seen["refused"] or {}).get("message")
        return f"{refused or seen['answers'].get('sessions.list', 'no sessions.list')}"

    row.bare = show(clients.control_ui(ctx.bare.url, TOKENS["open-webui"], browser, ctx.gateway.node))
    with ctx.other_shim(UI) as side:
        seen = clients.control_ui(side.url, TOKENS["open-webui"], browser, ctx.gateway.node)
    row.through = show(seen)
    row.need(seen["status"] == 200 and seen["hello"] is not None, f"not connected: {seen}")
    row.need(seen["answers"].get("sessions.list") == "ok", f"sessions: {seen}")
    row.need("missing scope: operator.admin" in seen["answers"].get("config.patch", ""), f"admin: {seen}")
    row.need("deviceToken" not in seen["hello"], "the device token was not taken out")


@case("ws.gateway-restarts")
def gateway_restarts(ctx, row):
    with session(ctx.through, auth=owner(ctx, ctx.through)) as sock:
        ctx.gateway.stop()
        code = sock.closed_within(10)
        row.need(code is not None, "the socket stays open")
    ctx.gateway
    row.through = lists_sessions(ctx, row, ctx.through, auth=owner(ctx, ctx.through))
    row.need(row.through == "ok", row.through)
    with session(ctx.through, auth=credential(ctx, "reader")) as sock:
        limited(row, sock)
