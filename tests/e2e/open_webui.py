"""Open WebUI in front of scopeshim in front of a gateway of its own, whose model says what it was shown."""

import json
import re
import shlex
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from tests.e2e import client_pages, gateway_sessions, refused
from tests.e2e.test_isolation import WORD, Teller
from tests.support import fake_model, gateways, install, open_webui, procs
from tests.support.outcomes import NotAvailable

CONTAINER = "host.docker.internal:18780"


def page_environment():
    """What the page has the container started with."""
    block = re.search(r"```sh\n(docker run .*?)\n```", (client_pages.FOLDER / "open-webui.md").read_text("utf-8"), re.DOTALL)
    words = shlex.split(block.group(1))
    return dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "-e")


def page_block(kind):
    """What the page says behind `<!-- tried: … -->`: `headers` of a connection, or more of the `environment`."""
    page = (client_pages.FOLDER / "open-webui.md").read_text("utf-8")
    found = re.findall(rf"<!-- tried: {kind} -->\s+`([^`]+)`", page)
    assert len(found) == 1, f"{len(found)} times `tried: {kind}` on the page"
    if kind == "environment":
        return dict(word.split("=", 1) for word in shlex.split(found[0]) if word != "-e")
    return json.loads(found[0])


def _say(handler):
    """Streams what it was shown and then the words of every fake model, piece by piece."""
    body = json.loads(handler.rfile.read(int(handler.headers.get("content-length") or 0)) or b"{}")
    call = fake_model.Call(bool(body.get("stream")))
    handler.owner.calls.append(call)
    pieces = [*(f"{word} " for word in handler.owner.seen(body)), *fake_model.WORDS]
    try:
        if not call.stream:
            whole = fake_model._whole()
            whole["choices"][0]["message"]["content"] = "".join(pieces)
            handler._json(whole)
        else:
            _stream(handler, pieces)
    except OSError:
        handler.close_connection = True
    call.done = True


def _stream(handler, pieces):
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for number, piece in enumerate(pieces):
        if number:
            time.sleep(handler.owner.pause)
        handler._event(fake_model._chunk({"role": "assistant", "content": piece}, None))
    handler._event(fake_model._chunk({}, "stop"))
    handler._event({**fake_model._chunk({}, None), "choices": [], "usage": fake_model._USAGE})
    handler._piece(b"data: [DONE]\n\n")
    handler.wfile.write(b"0\r\n\r\n")


class Lab:
    """The gateway, and scopeshim before it; the Open WebUIs start when a test asks for them."""

    def __init__(self, env):
        self.env = env
        self.model = Teller()
        self.model._server.RequestHandlerClass = type("_Sayer", (self.model._server.RequestHandlerClass,), {"do_POST": _say})
        # Long enough that a busy machine does not deliver the words in one piece.
        self.model.pause = 0.3
        env.at_end(self.model.stop)
        self.gateway = gateways.Gateway(env.release, env.mode, self.model.port, env.folder / "open-webui-gateway")
        env.at_file_end(self.gateway.stop)
        self.gateway.start()
        self.url = self.shim("open-webui", refused.TABLES)
        self._servers = {}

    def shim(self, name, extra):
        return self.env._start_shim(name, self.gateway.url, extra).url

    def fill(self, text, token, url=None):
        return text.replace(CONTAINER, (url or self.url).removeprefix("http://")).replace(client_pages.TOKEN, token)

    def server(self, version, token, url=None, **more):
        """Started as the page says; one for each set of variables."""
        env = {name: self.fill(value, token, url) for name, value in (page_environment() | more).items()}
        key = (version, *sorted(env.items()))
        if key not in self._servers:
            folder = Path(tempfile.mkdtemp(prefix="open-webui-", dir=self.env.folder)) / "server"
            self._servers[key] = open_webui.OpenWebUI(version, folder, env)
            self.env.at_file_end(self._servers[key].stop)
        return self._servers[key]

    def sessions(self, chat):
        """The keys of the gateway's sessions that are of this chat."""
        return {key for key in gateway_sessions.keys(self.gateway) if chat in key}

    def page(self, server, asks):
        return browse(server, self.gateway.node, asks)


def browse(server, node, asks):
    """The page in a real browser: what it showed after each message, and pictures in target/open-webui."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium:
        pytest.skip("no chromium here")
    shots = Path("target/open-webui").resolve()
    shots.mkdir(parents=True, exist_ok=True)
    env = {"PATH": f"{node.parent}:/usr/bin:/bin", "HOME": str(server.folder), "TMPDIR": tempfile.gettempdir(),
           "PLAYWRIGHT_FOLDER": str(install.playwright())}
    asked = {"url": server.url, "chromium": chromium, "shots": str(shots), "asks": asks}
    done = procs.run([str(node), str(Path(__file__).with_name("open_webui_page.mjs"))], env, 600, json.dumps(asked))
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"the browser ended with {done.returncode}: {done.stderr[-900:]}") from None


def lab(env):
    if env.mode.name != "token":
        raise NotAvailable("what Open WebUI sends does not depend on the mode: tried in mode token")
    return env.once("open-webui", Lab)


def shown(said):
    """Which words the model was shown."""
    return set(WORD.findall(said))
