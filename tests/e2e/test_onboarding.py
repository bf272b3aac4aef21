"""From a gateway as it was set up to a working client, by `init`, `run` and `doctor` alone."""

import contextlib
import json
import os
import re
import shlex

from tests.e2e.environment import Side, case
from tests.e2e.sockets import need_sockets
from tests.support import modes, procs
from tests.support.gateways import Gateway
from tests.support.outcomes import NotAvailable

MODES = ("token", "trusted-proxy")
PASSWORD = "a long random password"


class Beginner:
    """Somebody who runs commands and edits no file."""

    def __init__(self, env, name):
        self.env = env
        self.folder = env.folder / name
        # As people have it before they ask for an API: the endpoints are off.
        self.gateway = Gateway(env.release, env.mode, env.model.port, self.folder / "gateway", endpoints=False)
        self.port = procs.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = self.folder / "out" / "config.toml"
        self.token = ""
        self.shim = None

    @property
    def _env(self):
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "SCOPESHIM_TOKEN": self.token}

    def scopeshim(self, *words):
        return procs.run([str(self.env.binary), *map(str, words)], self._env, 240)

    def init(self):
        done = self.scopeshim("init", "--openclaw-config", self.gateway.config, "--out", self.config.parent,
                              "--listen", f"127.0.0.1:{self.port}", "--token-name", "open-webui")
        found = re.search(r"^\s+(scs_\w+)$", done.stdout, re.MULTILINE)
        self.token = found[1] if found else ""
        return done

    def run(self):
        self.shim = procs.Child([self.env.binary, "run", "--config", self.config], self.folder / "scopeshim.log",
                                {**self._env, "NO_COLOR": "1"}, self.folder)

    def doctor(self):
        done = self.scopeshim("doctor", "--config", self.config, "--chat", "--json")
        return done.returncode, json.loads(done.stdout)

    def close(self):
        if self.shim:
            self.shim.kill(grace=2)
        self.gateway.stop()


def codes(report):
    return [finding["code"] for check in report["checks"] for finding in check["findings"]]


@case("onboarding.init-run-doctor")
def test_from_nothing_to_a_client(env, row):
    if env.mode.name not in MODES:
        raise NotAvailable(f"tried in the modes {' and '.join(MODES)}")
    # The doctor finds what cannot be.
    need_sockets(env)
    with contextlib.closing(Beginner(env, "begin")) as person:
        _begin(env, row, person)


def _begin(env, row, person):
    done = person.init()
    assert done.returncode == 0 and person.token, f"init ended with {done.returncode}: {done.stderr[-500:]}"
    checked = person.scopeshim("check", "--deny-warnings", "--config", person.config)
    assert checked.returncode == 0, f"what init wrote: {checked.stderr[-500:]}"
    person.run()
    procs.until(lambda: "listening" in person.shim.tail(), 20, "scopeshim listens")

    code, report = person.doctor()
    assert code == 1 and "gateway-unreachable" in codes(report), (
        f"the gateway is down, and doctor says {codes(report)}"
    )

    # The commands that init printed.
    commands = [shlex.split(line) for line in done.stdout.splitlines() if line.strip().startswith("openclaw config set")]
    # Two endpoints, and which sessions the tools of a session reach.
    assert len(commands) == 3, f"init printed {commands}"
    for command in commands:
        changed = person.gateway.cli(*command[1:])
        assert changed.returncode == 0, f"{command}: {changed.stdout[-300:]}{changed.stderr[-300:]}"
    person.gateway.start()

    code, report = person.doctor()
    stages = {check["stage"]: check["verdict"] for check in report["checks"]}
    assert code == 0, f"doctor: {json.dumps([c for c in report['checks'] if c['findings']])[:1500]}"
    assert stages["stream"] == "good", f"the stream: {report['checks'][-1]}"

    client = Side(person.url, [("authorization", f"Bearer {person.token}")], [])
    models, chat = client.models(), client.chat()
    assert models.status == 200 and chat.status == 200, f"models: {models.brief()}, chat: {chat.brief()}"
    tools = client.post("/sessions/x/kill", {})
    row.refused(tools, 403, "missing scope: operator.admin")
    row.through = f"doctor healthy, {', '.join(codes(report)) or 'nothing to think about'}; client 200"


@case("onboarding.token-to-trusted-proxy")
def test_from_token_to_trusted_proxy(env, row):
    """The steps of docs/trusted-proxy.md, with a client that holds the gateway's old token all the while."""
    if env.mode.name != "token":
        raise NotAvailable("the way begins in mode token")
    if impossible := modes.why_not("trusted-proxy", env.release):
        raise NotAvailable(impossible)
    if env.key < (2026, 3, 24):
        raise NotAvailable("this release pairs no device in mode trusted-proxy, and its own commands are kept out too")
    with contextlib.closing(Beginner(env, "change-modes")) as person:
        _change_modes(env, row, person)


def _change_modes(env, row, person):
    assert person.init().returncode == 0
    person.run()
    procs.until(lambda: "listening" in person.shim.tail(), 20, "scopeshim listens")
    found = json.loads(person.gateway.config.read_text())
    trusted = {"userHeader": "x-scopeshim-user"}
    if env.key >= (2026, 4, 29):
        trusted["allowLoopback"] = True
    found["gateway"]["auth"] = {"mode": "trusted-proxy", "password": PASSWORD, "trustedProxy": trusted}
    found["gateway"]["trustedProxies"] = ["127.0.0.1", "::1"]
    enabled = {"chatCompletions": {"enabled": True}, "responses": {"enabled": True}}
    found["gateway"]["http"] = {"endpoints": enabled}
    person.gateway.config.write_text(json.dumps(found))
    done = person.scopeshim("token", "adopt", "old-clients", "--user-header", "x-scopeshim-user", "--config", person.config)
    assert done.returncode == 0 and "in force" in done.stderr, f"adopt: {done.stdout}{done.stderr}"
    person.gateway.mode = modes.Mode("trusted-proxy", {}, bare_headers=[
        ("x-scopeshim-user", "bare"), ("x-forwarded-for", modes.STAND_IN)])
    person.gateway.start()

    code, report = person.doctor()
    by_hand = "websocket-pairing" in codes(report) or "websocket-connect" in codes(report)
    if by_hand:
        change = next(f["change"] for c in report["checks"] for f in c["findings"] if f["code"] == "websocket-pairing")
        request = re.search(r"openclaw devices approve (\S+)`", change)[1]
        approved = person.gateway.cli("devices", "approve", request, "--password", PASSWORD)
        assert approved.returncode == 0, f"approve {request}: {approved.stdout[-500:]}{approved.stderr[-500:]}"
        code, report = person.doctor()
    assert code == 0, f"doctor: {json.dumps([c for c in report['checks'] if c['verdict'] != 'good'])[:1500]}"
    stages = {check["stage"]: check["verdict"] for check in report["checks"]}
    assert stages["principals"] == "good" and stages["websocket"] == "good", stages

    old = Side(person.url, [("authorization", f"Bearer {env.mode.secret}")], [])
    models, chat = old.models(), old.chat()
    assert models.status == 200 and chat.status == 200, f"the old token: {models.brief()}, {chat.brief()}"
    row.through = f"doctor healthy {'after one approval' if by_hand else 'without an approval'}; the old token 200"
