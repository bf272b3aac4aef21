"""What is counted: one request, event or reload after another, so that a count does not depend on who is first."""

import re
import socket
import subprocess

from tests.bench import policies
from tests.bench.budgets.gateway import EVENT, read_head

# Under callgrind everything takes fifty times as long.
PATIENCE_SECONDS = 60


class Client:
    """One connection that is kept."""

    def __init__(self, port):
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, token):
        """One request and the whole of its answer, which must be right."""
        self._send(token, "application/json")
        got = read_head(self._sock)
        head, _, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if b" 200 " not in head[:20] or not length:
            raise RuntimeError(f"the answer is {got[:500]!r}")
        left = int(length[1]) - len(body)
        while left > 0:
            left -= len(self._received())

    def stream(self, token):
        """Opens a stream of events, and leaves it open."""
        self._send(token, "text/event-stream")
        head = read_head(self._sock)
        if b" 200 " not in head[:20]:
            raise RuntimeError(f"the answer is {head[:500]!r}")

    def event(self):
        """Waits for one whole event."""
        got = b""
        while EVENT not in got:
            got += self._received()

    def _send(self, token, accept):
        self._sock.sendall((f"GET /v1/models HTTP/1.1\r\nhost: gateway.example\r\nauthorization: Bearer {token}\r\n"
                            f"accept: {accept}\r\nuser-agent: OpenAI/Python 1.99.0\r\n\r\n").encode())

    def _received(self):
        part = self._sock.recv(65536)
        if not part:
            raise RuntimeError("the connection was closed")
        return part


class Loads:
    """Each is a function of how often."""

    def __init__(self, port, gateway, keys, reload):
        self._port, self._client, self._stream = port, Client(port), None
        self._gateway, self._reload = gateway, reload
        self._seen = keys.one("RS256")
        self._unseen = {name: iter(keys.files[name].read_text().split()) for name in ("RS256", "HS256")}

    def token(self, count):
        for _ in range(count):
            self._client.ask(policies.token(7))

    def jwt_seen(self, count):
        for _ in range(count):
            self._client.ask(self._seen)

    def jwt_rs256(self, count):
        for _ in range(count):
            self._client.ask(next(self._unseen["RS256"]))

    def jwt_hs256(self, count):
        for _ in range(count):
            self._client.ask(next(self._unseen["HS256"]))

    def sse_event(self, count):
        if not self._stream:
            self._stream = Client(self._port)
            self._stream.stream(policies.token(7))
        for _ in range(count):
            self._gateway.event()
            self._stream.event()

    def reload(self, count):
        for _ in range(count):
            said = subprocess.run(self._reload, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
            if said.returncode != 0:
                raise RuntimeError(f"the reload failed: {said.stdout}{said.stderr}")
