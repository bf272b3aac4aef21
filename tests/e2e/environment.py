"""What a test is given: the running pieces of one release and mode, and a row to fill."""

import contextlib
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import capture, clients, fake_model, gateways, install, modes, shim


def case(name):
    """The case's name in the table and in docs/compatibility.md; the test's parameters go where they are named."""
    return pytest.mark.case(name)


@dataclass
class Side:
    """One way to reach the gateway: with nothing between, or through scopeshim."""

    url: str
    # Credential headers of the caller who may do everything.
    owner: list
    # Credential headers of the caller who may only read. A bare gateway knows no such caller.
    reader: list
    # Where scopeshim's configuration and what belongs to it are; None for the bare gateway.
    folder: Path | None = None

    def models(self, *headers, who=None):
        return clients.request("GET", f"{self.url}/v1/models", [*(self.owner if who is None else who), *headers])

    def post(self, path, body, *headers, who=None, seconds=120):
        who = self.owner if who is None else who
        return clients.request("POST", f"{self.url}{path}", [*who, *headers], body, seconds)

    def chat(self, *headers, who=None):
        body = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}]}
        return self.post("/v1/chat/completions", body, *headers, who=who)

    def chat_gate(self, *headers, who=None):
        """400 means the scope gate was passed: the body is looked at after it, and no model is asked."""
        return self.post("/v1/chat/completions", {}, *headers, who=who)


class Row:
    """What was seen of one case, in words: on the bare gateway, and through scopeshim."""

    def __init__(self):
        self.bare = None
        self.through = None

    def both(self, env, act, show=clients.Answer.brief):
        """Does the same on the bare gateway and through scopeshim; gives both results."""
        bare = act(env.bare)
        self.bare = show(bare)
        through = act(env.through)
        self.through = show(through)
        return bare, through

    def refused(self, answer, status, *words):
        """A refusal in the gateway's shape that says what was wrong."""
        assert answer.status == status, f"expected {status}, got {answer.brief()}"
        for word in words:
            assert word in answer.message(), f"{word!r} is not in the message {answer.message()!r}"
        if status == 403:
            value = answer.json()
            shape = isinstance(value, dict) and value.get("ok") is False and value["error"].get("type") == "forbidden"
            assert shape, f"not the gateway's body of a 403: {answer.body[:200]!r}"


class Environment:
    """One release in one mode. Nothing starts before a test asks for it."""

    def __init__(self, release, mode_name, binary):
        self.release = release
        self.key = install.release_key(release)
        self.mode = modes.make(mode_name, release)
        self.binary = binary
        self.memory = {}
        self._numbers = itertools.count(1)
        self._folder = tempfile.TemporaryDirectory(prefix="scopeshim-e2e-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._stack = contextlib.ExitStack()
        self._file_stack = contextlib.ExitStack()
        self.model = fake_model.Model()
        self._stack.callback(self.model.stop)
        self._gateway = None
        self._no_start = None
        self._shim = None
        self._mirror = None

    @property
    def gateway_unstarted(self):
        if self._gateway is None:
            self._gateway = gateways.Gateway(self.release, self.mode, self.model.port, self.folder / "gateway")
            self._stack.callback(self._gateway.stop)
        return self._gateway

    @property
    def gateway(self):
        found = self.gateway_unstarted
        if self._no_start:
            raise RuntimeError(self._no_start)
        if not found.running:
            found.stop()
            try:
                found.start()
            except RuntimeError as err:
                # Once is enough: every further test would wait as long for the same.
                self._no_start = f"the gateway does not start: {err}"
                raise RuntimeError(self._no_start) from err
        return found

    @property
    def shim(self):
        if self._shim is None:
            self._shim = self._start_shim("shim", self.gateway_unstarted.url)
        return self._shim

    @property
    def mirror(self):
        """scopeshim in front of an upstream that stores what it was sent: (url, Capture)."""
        if self._mirror is None:
            upstream = capture.Capture()
            self._stack.callback(upstream.stop)
            self._mirror = (self._start_shim("mirror", upstream.url, probe=False).url, upstream)
        return self._mirror

    @contextlib.contextmanager
    def other_shim(self, extra):
        """A second scopeshim before the same gateway, with more in its configuration."""
        started = self._start_shim(f"shim-{next(self._numbers)}", self.gateway.url, extra)
        try:
            side = self._side(started.url)
            side.folder = started.folder
            yield side
        finally:
            started.stop()

    @property
    def bare(self):
        headers = self.mode.bare_headers
        return Side(self.gateway.url, headers, headers)

    @property
    def through(self):
        assert self.gateway.running
        return self._side(self.shim.url)

    def sdk(self, language, side_name):
        """The SDK's four calls are made in one run and remembered."""
        key = (language, side_name)
        if key not in self.memory:
            side = self.bare if side_name == "bare" else self.through
            token = dict(side.owner).get("authorization", "Bearer no-secret-needed").removeprefix("Bearer ")
            self.memory[key] = clients.sdk(language, side.url, token, self.gateway.node)
        return self.memory[key]

    def once(self, name, make):
        """What `make` gives for this column, made once."""
        if name not in self.memory:
            self.memory[name] = make(self)
        return self.memory[name]

    def at_end(self, stop):
        """Called when the column is over."""
        self._stack.callback(stop)

    def at_file_end(self, stop):
        """Called when the tests of the present file are over: a gateway costs its share of a processor while it runs."""
        self._file_stack.callback(stop)

    def end_of_file(self):
        self._file_stack.close()

    def logs(self):
        parts = []
        if self._gateway:
            parts.append(f"--- gateway {self.release}\n{self._gateway.tail()}")
        for log in sorted(self.folder.glob("*/scopeshim.log")):
            text = log.read_text("utf-8", "replace")
            parts.append(f"--- {log.parent.name}\n" + "\n".join(text.splitlines()[-15:]))
        return "\n".join(parts)

    def close(self):
        self._file_stack.close()
        self._stack.close()
        self._folder.cleanup()

    def _start_shim(self, name, gateway_url, extra="", probe=True):
        started = shim.Shim(self.binary, self.mode, gateway_url, self.folder / name, extra, probe)
        self._stack.callback(started.stop)
        return started

    def _side(self, url):
        # Some modes have no secret that a client could hold, so there the owner is a named token.
        owner = self.mode.bare_headers if self.mode.secret else shim.bearer("owner")
        return Side(url, owner, shim.bearer("reader"))
