"""What the cases run on: a tailnet, a gateway, and scopeshim between them."""

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support import fake_model as model, gateways, modes, procs, shim
from tests.tailnet.nodes import OUTSIDE, Control, Namespace, Node

CAPABILITY = "example.org/cap/scopeshim"


@dataclass
class Got:
    status: int
    text: str

    @property
    def code(self):
        try:
            return json.loads(self.text)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self):
        return f"{self.status} {self.code or ''}".strip()


class Forward:
    """Lets a namespace reach a port of loopback here."""

    def __init__(self, ip, to_port):
        self._listener = socket.create_server((ip, 0))
        self.port, self._to = self._listener.getsockname()[1], to_port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(one, other):
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
        except OSError:
            pass
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Lab:
    """`kind` is how tailscaled of the proxy's machine networks: `userspace` or `tun`."""

    def __init__(self, kind, release, binary, folder):
        self.kind, self.folder, self.binary = kind, Path(folder), binary
        self.namespace = Namespace() if kind == "tun" else None
        self.closing = [procs.kill_all] + ([self.namespace.close] if self.namespace else [])
        try:
            self._open(release)
        except BaseException:
            self.close()
            raise

    def _open(self, release):
        self.mode = modes.make("token", release)
        self.model = model.Model(pause=0.05)
        self.closing.append(self.model.stop)
        self.gateway = gateways.Gateway(release, self.mode, self.model.port, self._dir("gateway"))
        self.gateway.start()
        self.control = Control(self.folder, OUTSIDE if self.namespace else "127.0.0.1")
        nodes = self._dir("nodes")
        self.server = Node("server", nodes, self.control, namespace=self.namespace)
        self.user = Node("alice", nodes, self.control)
        self.tagged = Node("bot", nodes, self.control, tag="tag:bot")
        self.stranger = Node("mallory", nodes, self.control)
        self.login = self._login(self.user)
        self._start_shim()
        self.server.cli("serve", "--bg", "--http=8080", f"http://127.0.0.1:{self.serve_port}")

    def _dir(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _login(self, node):
        status = self.server.status()
        peer = next(p for p in status["Peer"].values() if p["HostName"] == node.name)
        return status["User"][str(peer["UserID"])]["LoginName"]

    def _start_shim(self):
        folder = self._dir("shim")
        self.port, self.serve_port = procs.free_port(), procs.free_port()
        gateway = Forward(OUTSIDE, self.gateway.port).port if self.namespace else self.gateway.port
        secret = folder / "gateway.secret"
        secret.write_text(self.mode.secret)
        secret.chmod(0o600)
        # In userspace networking tailscaled hands connections over on loopback.
        self.tailnet_ip = self.server.ip if self.namespace else "127.0.0.1"
        self.config = folder / "scopeshim.toml"
        self.write_config(f"http://{OUTSIDE if self.namespace else '127.0.0.1'}:{gateway}")
        command = [str(self.binary), "run", "--config", str(self.config)]
        if self.namespace:
            command = self.namespace.command(*command)
        self.shim = procs.Child(command, folder / "scopeshim.log", {**os.environ, "NO_COLOR": "1"}, folder)
        procs.until(lambda: self.ready()[0] == 200, 30, "scopeshim ready")

    def write_config(self, gateway=None, grants=True):
        self._gateway = gateway or self._gateway
        text = f"""
[[listen]]
address = "{self.tailnet_ip}:{self.port}"
identity = "tailnet"

[[listen]]
address = "127.0.0.1:{self.serve_port}"
identity = "tailscale-serve"

[tailscale]
socket = "{self.server.socket}"
capability = "{CAPABILITY}"
max_scopes = ["operator.read", "operator.write"]

[gateway]
url = "{self._gateway}"
auth = {{ kind = "token", file = "{self.config.parent / 'gateway.secret'}" }}

[server]
state_dir = "{self.config.parent / 'state'}"

[admin]
socket = "{self.config.parent / 'admin.sock'}"

[[token]]
name = "owner"
sha256 = "{__import__('hashlib').sha256(shim.TOKENS['owner'].encode()).hexdigest()}"
scopes = ["operator.read"]
"""
        if grants:
            text += f"""
[[grant]]
to = {{ tailnet_user = "{self.login}" }}
scopes = ["operator.read", "operator.write"]

[[grant]]
to = {{ tailnet_tag = "tag:bot" }}
scopes = ["operator.read", "operator.write"]
"""
        self.config.write_text(text)

    def reload(self):
        done = procs.run([str(self.binary), "reload", "--config", str(self.config)], dict(os.environ), 30)
        assert done.returncode == 0, done.stderr

    # -- asking ----------------------------------------------------------------------------------

    def connect(self, node, served=False):
        """A connection by a node to the proxy: to its listener, or to tailscale serve in front of it."""
        return node.connect(self.server.ip, 8080 if served else self.port)

    def ask(self, node, path="/v1/models", headers=(), served=False, method="GET", body=None, seconds=30):
        return self.ask_on(self.connect(node, served), path, headers, method, body, seconds)

    def ask_local(self, port, headers=(), path="/v1/models", seconds=30):
        """By a process on the proxy's own machine, and by no node of the tailnet."""
        if self.namespace:
            lines = [word for name, value in headers for word in ("-H", f"{name}: {value}")]
            command = self.namespace.command(
                "curl", "-s", "-m", str(seconds), "-w", "\n%{http_code}", *lines, f"http://127.0.0.1:{port}{path}")
            text, _, status = procs.run(command, dict(os.environ), seconds + 5).stdout.rpartition("\n")
            return Got(int(status or 0), text)
        return self.ask_on(socket.create_connection(("127.0.0.1", port)), path, headers, seconds=seconds)

    @staticmethod
    def ask_on(sock, path, headers=(), method="GET", body=None, seconds=30):
        connection = http.client.HTTPConnection("server.tailnet.test", 8080)
        sock.settimeout(seconds)
        connection.sock = sock
        try:
            data = json.dumps(body) if body is not None else None
            connection.putrequest(method, path)
            for name, value in headers:
                connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data.encode() if data is not None else None)
            answer = connection.getresponse()
            return Got(answer.status, answer.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def stream(self, node):
        """Opens a chat stream, and gives each line with when it came."""
        connection = http.client.HTTPConnection("server.tailnet.test", 8080)
        connection.sock = self.connect(node)
        connection.sock.settimeout(60)
        body = {"model": "openclaw", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, f"{answer.status} {answer.read()[:200]}"

        def lines():
            try:
                while line := answer.readline():
                    if line.startswith(b"data:"):
                        yield time.monotonic(), line.decode().strip()
            except (OSError, http.client.HTTPException):
                return
            finally:
                connection.close()
        return lines()

    # -- the process -----------------------------------------------------------------------------

    def ready(self):
        return self._admin("/readyz")

    def metric(self, name):
        text = self._admin("/metrics")[1]
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), None)

    def log(self):
        return (self.config.parent / "scopeshim.log").read_text()

    def _admin(self, path):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(10)
            sock.connect(str(self.config.parent / "admin.sock"))
        except OSError:
            sock.close()
            return 0, ""
        got = self.ask_on(sock, path)
        return got.status, got.text

    def close(self):
        for end in self.closing:
            end()
