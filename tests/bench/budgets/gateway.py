"""A gateway for counting: it answers one request after another, and sends an event when it is told to."""

import json
import socket
import threading

_MODELS = [{"id": f"openclaw/agent-{n}", "object": "model", "created": 1700000000, "owned_by": "openclaw"} for n in range(12)]
_BODY = json.dumps({"object": "list", "data": _MODELS}).encode()
_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Twenty letters, more"}}]}\n\n'
_CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)


class Gateway:
    """Listens on `port` until the process ends."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stream = None
        threading.Thread(target=self._accept, daemon=True).start()

    def event(self):
        """One event on the stream that was opened last."""
        self._stream.sendall(_CHUNK)

    def _accept(self):
        while True:
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        while head := read_head(sock):
            if b"\r\naccept: text/event-stream" in head.lower():
                self._stream = sock
                sock.sendall(_STREAM)
            else:
                sock.sendall(_JSON)


def read_head(sock):
    """Bytes up to the end of a head, of a message without a body; nothing if the connection was closed."""
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            part = sock.recv(65536)
        except OSError:
            return b""
        if not part:
            return b""
        head += part
    return head
