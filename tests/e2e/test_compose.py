"""packaging/compose without its containers: the three programs with the configurations and variables that stand there."""

import json
import os
import secrets
import socket
import subprocess

import pytest

from tests.e2e import open_webui as pages
from tests.e2e.environment import case
from tests.e2e.test_isolation import Teller, word
from tests.support import clients, gateways, install, modes, open_webui, procs
from tests.support.install import InstallError
from tests.support.outcomes import NotAvailable

ROOT = clients.HERE.parents[1]
FOLDER = ROOT / "packaging" / "compose"


class Gateway(gateways.Gateway):
    """With the file that is mounted, its own port and provider, and the secret from the environment."""

    secret = secrets.token_hex(32)

    @property
    def _env(self):
        return {**super()._env, "OPENCLAW_GATEWAY_TOKEN": self.secret}

    def mount(self):
        config = json.loads(self.config.read_text())
        mounted = json.loads((FOLDER / "gateway" / "openclaw.json").read_text())
        config["gateway"] = {**mounted["gateway"], "port": self.port}
        self.config.write_text(json.dumps(config))
        self.mode.bare_headers[:] = [("authorization", f"Bearer {self.secret}")]


def _outside():
    """An address of this machine by which the gateway is not local, as in a container's network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return probe.getsockname()[0]


def _project(binary):
    """The file as Compose understands it."""
    done = subprocess.run([ROOT / "tests/compose/run.sh", binary, "--json"], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise InstallError(f"compose.yaml: {done.stderr[-900:]}")
    if not done.stdout:
        pytest.skip(done.stderr.strip())
    return json.loads(done.stdout)["services"]


def _scopeshim(env, binary, folder, gateway_url):
    """`token new`, its table pasted, and `run`: (address, token)."""
    folder.mkdir()
    port, config = procs.free_port(), folder / "config.toml"
    text = (FOLDER / "scopeshim" / "config.toml").read_text()
    for there, here in (("0.0.0.0:18780", f"127.0.0.1:{port}"), ("http://gateway:18789", gateway_url), ("/var/lib/scopeshim", str(folder))):
        assert there in text, f"{there} is not in packaging/compose/scopeshim/config.toml"
        text = text.replace(there, here)
    config.write_text(text)
    made = procs.run([str(binary), "token", "new", "open-webui", "--config", str(config)], dict(os.environ), 30)
    token, _, table = made.stdout.partition("\n")
    config.write_text(f"{text}\n{table}")
    child = procs.Child([binary, "run", "--config", config], folder / "scopeshim.log",
                        {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OPENCLAW_GATEWAY_TOKEN": Gateway.secret}, folder)
    env.at_file_end(lambda: child.kill(grace=2))
    url = f"http://127.0.0.1:{port}"

    def answers():
        assert child.alive(), f"scopeshim ended: {child.tail()}"
        try:
            return clients.request("GET", f"{url}/healthz", seconds=5).status
        except OSError:
            return False

    procs.until(answers, 20, "scopeshim ready")
    return url, token.strip()


@case("compose.chat")
def test_the_three_together(env, row):
    if env.mode.name != "token":
        raise NotAvailable("compose.yaml uses the mode token")
    services = _project(env.binary)
    given = services["open-webui"]["environment"]
    model = Teller()
    model._server.RequestHandlerClass = type("_Sayer", (model._server.RequestHandlerClass,), {"do_POST": pages._say})
    env.at_file_end(model.stop)
    gateway = Gateway(env.release, modes.make("token", env.release), model.port, env.folder / "compose-gateway")
    gateway.mount()
    env.at_file_end(gateway.stop)
    gateway.start()
    url, token = _scopeshim(env, env.binary, env.folder / "compose-scopeshim", f"http://{_outside()}:{gateway.port}")
    assert given["OPENAI_API_BASE_URL"] == "http://scopeshim:18780/v1", given
    server = open_webui.OpenWebUI(install.OPEN_WEBUI[-1], env.folder / "compose-open-webui", {
        **given, "OPENAI_API_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": token})
    env.at_file_end(server.stop)
    assert "openclaw" in server.models(), f"models: {server.models()}"
    chat, said, title = server.new_chat(), word(), word()
    _, text = server.chat("openclaw", said, chat)
    assert said in text, f"the answer: {text}"
    server.title("openclaw", title, chat)
    _, text = server.chat("openclaw", word(), chat)
    assert said in text and title not in text, f"the chat goes on with {text}"
    if env.key >= (2026, 9):
        seen = pages.browse(server, gateway.node, [{"name": f"{env.release}-compose", "model": "openclaw", "said": "count to six",
                                                    "width": 1280, "height": 800, "expect": "one two three"}])
        assert next(iter(seen.values()))["arrived"], f"the page: {seen}"
    row.through = "models, a chat in its own session, its title apart"
