"""OpenClaw's own clients: its command line, its terminal UI and its library, each at scopeshim's address."""

import json
import secrets
import tempfile

import pytest

from tests.e2e import refused
from tests.e2e.environment import case
from tests.support import clients, install, procs, terminal
from tests.support.fake_model import TEXT
from tests.support.outcomes import NotAvailable
from tests.support.shim import TOKENS

SECONDS = 120


def _address(env):
    if env.mode.name != "token":
        raise NotAvailable("what these clients send does not depend on the mode: tried in mode token")
    return env.through.url.replace("http://", "ws://")


def _cli(env, token, *words):
    done = env.gateway.cli("gateway", *words, "--url", _address(env), "--token", token)
    return done.returncode, f"{done.stdout}\n{done.stderr}"


def _chat():
    return {"sessionKey": f"agent:main:{secrets.token_hex(6)}", "message": "count to six", "idempotencyKey": secrets.token_hex(8)}


def _library(env, token, *calls):
    """What the library was given; it asks for more than a reader holds."""
    asked = {"url": _address(env), "token": token, "scopes": ["operator.read", "operator.write"], "calls": calls}
    given = {"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir(), "GATEWAY_CLIENT_FOLDER": str(install.gateway_client())}
    done = procs.run([str(install.node("26")), str(clients.HERE / "gateway_client.mjs")], given, SECONDS, json.dumps(asked))
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"the library ended with {done.returncode}: {done.stderr[-600:]}") from None


def _tui(env, token):
    gateway = env.gateway
    session = f"agent:main:{secrets.token_hex(6)}"
    words = [*gateway._program, "tui", "--url", _address(env), "--token", token, "--session", session]
    return terminal.Terminal(words, gateway._env, gateway.folder)


@case("openclaw-cli.call")
def test_gateway_call(env, row):
    code, said = _cli(env, TOKENS["open-webui"], "call", "sessions.list")
    assert code == 0 and '"sessions"' in said, f"sessions.list: {code} {said[-500:]}"
    code, said = _cli(env, TOKENS["open-webui"], "call", "chat.send", "--params", json.dumps(_chat()))
    assert code == 0 and '"started"' in said, f"chat.send: {code} {said[-500:]}"
    row.through = "sessions.list, chat.send"


@case("openclaw-cli.status")
def test_gateway_status(env, row):
    _, said = _cli(env, TOKENS["open-webui"], "status")
    lines = [line.strip() for line in said.splitlines()]
    found = next((line for line in lines if line.startswith(("Connectivity probe:", "RPC probe:"))), said[-300:])
    row.through = found
    assert found.endswith("ok"), f"status: {said[-900:]}"


@case("openclaw-tui.chat")
def test_the_terminal_ui(env, row):
    with _tui(env, TOKENS["open-webui"]) as tui:
        assert tui.until("gateway connected", SECONDS), f"no connection: {tui.text()[-600:]}"
        tui.type("count to six")
        assert tui.until("count to six", SECONDS), f"nothing typed: {tui.text()[-600:]}"
        tui.type("\r")
        assert tui.until(TEXT, SECONDS), f"no answer: {tui.text()[-600:]}"
    row.through = "connected, answered"


@case("gateway-client.calls")
def test_the_library(env, row):
    seen = _library(env, TOKENS["open-webui"], ["sessions.list", {}], ["chat.send", _chat()])
    assert "failed" not in seen, f"no connection: {seen}"
    assert all("value" in call for call in seen["calls"]), f"calls: {seen['calls']}"
    row.through = f"protocol {seen['connected']['protocol']}: sessions.list, chat.send"


# A session's requests name no model, and its limits count sockets.
@case("refused.{client}.{what}")
@pytest.mark.parametrize("what", ["unknown-token", "missing-scope"])
@pytest.mark.parametrize("client", ["openclaw-cli", "openclaw-tui", "gateway-client"])
def test_a_refusal(env, row, client, what):
    token, _ = refused.tokens()[what]
    expected = refused.EXPECTED["unknown-token"] if what == "unknown-token" else "missing scope: operator.write"
    if client == "openclaw-cli":
        code, said = _cli(env, token, "call", "chat.send", "--params", json.dumps(_chat()))
        assert code != 0, f"not refused: {said[-400:]}"
        row.through = next((line for line in reversed(said.splitlines()) if expected in line), said[-300:])
    elif client == "gateway-client":
        seen = _library(env, token, ["chat.send", _chat()])
        row.through = seen.get("failed") or seen["calls"][0].get("error") or str(seen)
    else:
        row.through = _refused_tui(env, token, expected)
    assert expected in row.through, f"{expected!r} is not in {row.through!r}"


def _refused_tui(env, token, expected):
    """The piece of the screen that ends with what is expected."""
    with _tui(env, token) as tui:
        if expected.startswith("missing"):
            assert tui.until("gateway connected", SECONDS), f"no connection: {tui.text()[-600:]}"
            tui.type("count to six")
            assert tui.until("count to six", SECONDS), f"nothing typed: {tui.text()[-600:]}"
            tui.type("\r")
        assert tui.until(expected, SECONDS), f"it shows no refusal: {tui.text()[-600:]!r}"
        text = tui.text()
    at = text.find(expected)
    return text[max(0, text.rfind("─", 0, at) + 1):at + len(expected)].strip()[-160:]
