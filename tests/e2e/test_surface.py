"""Routes of the gateway with credentials of their own, its public pages, and its upgrades without a `connect` frame."""

import json
import secrets
import time

from tests.e2e.environment import case
from tests.support import clients, gateways
from tests.support.outcomes import NotAvailable
from tests.support.wsclient import Closed, Refused, Socket

HOOK_TOKEN = secrets.token_hex(20)
# As config.example.toml has it, but for where callers come from.
TABLES = """
[[route]]
prefix = "/hooks/"
methods = ["POST"]
credentials = "client"
limits = { requests_per_minute = 60 }

[websocket]
ui = "authenticated"
"""


class Lab:
    """A gateway with webhooks, and scopeshim in front of it."""

    def __init__(self, env):
        self.env = env
        self.gateway = gateways.Gateway(env.release, env.mode, env.model.port, env.folder / "webhooks")
        config = json.loads(self.gateway.config.read_text())
        config["hooks"] = {"enabled": True, "token": HOOK_TOKEN, "path": "/hooks"}
        self.gateway.config.write_text(json.dumps(config))
        env.at_file_end(self.gateway.stop)
        self.gateway.start()
        self.shim = env._start_shim("webhooks", self.gateway.url, TABLES)
        self.side = env._side(self.shim.url)

    def attributed(self):
        """What a bare gateway of mode trusted-proxy wants to know of a caller: where from, and not who."""
        trusted = self.env.mode.name == "trusted-proxy" and self.env.key >= (2026, 9)
        return [("x-forwarded-for", "192.0.2.77")] if trusted else []


def lab(env):
    if env.mode.name not in ("token", "trusted-proxy"):
        raise NotAvailable("a gateway of its own only where callers differ: in token and trusted-proxy")
    if "webhooks" not in env.memory:
        env.memory["webhooks"] = Lab(env)
    return env.memory["webhooks"]


def hook(url, path, headers, body=None):
    return clients.request("POST", url + path, headers, body or {"text": "hello", "mode": "now"}, 60)


@case("hooks.own-token")
def test_hooks(env, row):
    """A webhook's own token goes to the gateway, as a bearer token and in the gateway's own header."""
    at = lab(env)
    for name, value in (("authorization", f"Bearer {HOOK_TOKEN}"), ("x-openclaw-token", HOOK_TOKEN)):
        bare = hook(at.gateway.url, "/hooks/wake", [(name, value), *at.attributed()])
        through = hook(at.shim.url, "/hooks/wake", [(name, value)])
        row.bare, row.through = bare.brief(), through.brief()
        assert bare.status in (200, 202), f"bare, by {name}: {bare.brief()}"
        assert through.status == bare.status, f"by {name}: {through.brief()}"
    agent = hook(at.shim.url, "/hooks/agent", [("x-openclaw-token", HOOK_TOKEN)], {"message": "hello", "deliver": False})
    # 2026.9 answers 503 itself where its machine is too busy to start the run in time.
    busy = agent.status == 503 and b"admission timeout" in agent.body
    assert agent.status in (200, 202) or busy, f"/hooks/agent: {agent.brief()}"


@case("hooks.wrong-token")
def test_wrong_token(env, row):
    """The gateway's own answer, and so few of them that it never refuses everybody's."""
    at = lab(env)
    wrong = [("authorization", f"Bearer {secrets.token_hex(20)}")]
    bare = hook(at.gateway.url, "/hooks/wake", [*wrong, *at.attributed()])
    through = [hook(at.shim.url, "/hooks/wake", wrong) for _ in range(7)]
    row.bare, row.through = bare.brief(), " ".join(str(answer.status) for answer in through)
    assert bare.status == 401, bare.brief()
    assert [answer.status for answer in through] == [401] * 5 + [429] * 2, row.through
    assert through[0].body == bare.body, f"{through[0].body!r} is not {bare.body!r}"
    assert through[-1].json()["error"]["code"] == "too_many_failed_attempts", through[-1].brief()
    good = hook(at.shim.url, "/hooks/wake", [("authorization", f"Bearer {HOOK_TOKEN}")])
    assert good.status in (200, 202), f"a good token waits for others' wrong ones: {good.brief()}"


@case("hooks.nothing-of-ours")
def test_nothing_of_ours(env, row):
    """A credential of this proxy stays here, and a webhook's opens nothing but webhooks."""
    at = lab(env)
    for own in (at.side.owner, at.side.reader):
        row.refused(hook(at.shim.url, "/hooks/wake", own), 403, "for this proxy")
    for method, path in (("GET", "/v1/models"), ("POST", "/tools/invoke"), ("GET", "/sessions/agent%3Amain%3Amain/history"),
                         ("POST", "/hooks%2f..%2fv1/models"), ("POST", "/hooks/../tools/invoke"), ("POST", "/api/v1/admin/rpc")):
        answer = clients.raw_get(at.shim.url, path, [("authorization", f"Bearer {HOOK_TOKEN}")]) if method == "GET" else hook(
            at.shim.url, path, [("authorization", f"Bearer {HOOK_TOKEN}")])
        assert answer.status in (400, 401), f"{method} {path}: {answer.brief()}"
    row.through = "403, and 401 elsewhere"


@case("ui.ticketed-pages")
def test_ticketed_pages(env, row):
    """Pages that a ticket opens are the gateway's to answer, and a stranger's request is one to it."""
    at = lab(env)
    if env.key < (2026, 9):
        raise NotAvailable("the pages are of 2026.9")
    said = []
    for path in ("/__openclaw__/board/agent%3Amain%3Amain/x", "/__openclaw__/mcp-app/view?ticket=x", "/api/artifacts/download/x/y",
                 "/share/session?id=x", "/approve/x", "/focus/x"):
        lines = [("accept", "text/html")]
        bare = clients.raw_get(at.gateway.url, path, [*lines, *at.attributed()])
        through = clients.raw_get(at.shim.url, path, lines)
        said.append(f"{through.status}")
        assert through.status == bare.status, f"{path}: bare {bare.brief()}, through {through.brief()}"
    canvas = clients.raw_get(at.shim.url, "/__openclaw__/canvas/", [])
    assert canvas.status == 401, f"a canvas without a credential: {canvas.brief()}"
    row.through = " ".join(said)


@case("probes.startup")
def test_startup(env, row):
    at = lab(env)
    for path in ("/startup", "/startupz"):
        # A gateway that has just started may be busy for longer than a probe waits.
        deadline = time.monotonic() + 60
        while True:
            bare = clients.request("GET", at.gateway.url + path)
            through = clients.request("GET", at.shim.url + path)
            if through.status == bare.status or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        row.bare, row.through = bare.brief(), through.brief()
        assert through.status == bare.status, f"{path}: bare {bare.brief()}, through {through.brief()}"
    assert through.json() == {"ok": True, "status": "started"} or through.status != 200, through.body


@case("ws.without-connect")
def test_upgrades_without_connect(env, row):
    """Where the gateway speaks another protocol no socket is opened, whoever asks."""
    at = lab(env)
    for path in ("/desktop/observe", "/Desktop/observe/", "/node-desktop/attach", "/node-portal/attach", "/node-portal%2fattach",
                 "/__openclaw__/worker"):
        try:
            Socket(at.shim.url.replace("http://", "ws://") + path, at.side.owner).close()
            said = "101"
        except (Closed, Refused) as why:
            said = str(why)
        assert said.startswith("404 ") and "websocket_path" in said, f"{path}: {said}"
    row.through = "404"


@case("ws.stated-model-rule")
def test_stated_model_rule(env, row):
    """`sessions.patch {model}` needs operator.write alone: whoever is kept from models gets no socket."""
    stated = env._start_shim("stated-model", lab(env).gateway.url, '\n[policy]\nmodel = "admin"\n')
    try:
        with Socket(stated.url.replace("http://", "ws://"), lab(env).side.reader) as sock:
            sock.connect(scopes=["operator.read"])
        said = "connected"
    except (Closed, Refused) as why:
        said = str(why)
    assert "cannot be held to" in said, said
    row.through = "refused"
