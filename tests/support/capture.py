"""An upstream that stores the exact bytes it was sent and answers every request alike."""

import socket
import threading

REPLY_BODY = b'{"object":"list","data":[]}'
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%s" % (len(REPLY_BODY), REPLY_BODY)
)


class Captured:
    def __init__(self, raw):
        self.raw = raw
        head, _, self.rest = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.request_line = lines[0]
        self.headers = [
            (name.strip().lower(), value.strip())
            for name, _, value in (line.partition(":") for line in lines[1:])
        ]

    def all(self, name):
        return [value for key, value in self.headers if key == name]

    def names(self):
        return [key for key, _ in self.headers]


class Capture:
    def __init__(self):
        self.requests = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def asked(self):
        """What came for clients: probes of the gateway's health may be the proxy's own."""
        return [seen for seen in self.requests if not seen.request_line.split(" ")[1].endswith(("/healthz", "/readyz"))]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            connection.settimeout(10)
            try:
                raw = _read_request(connection)
                if raw:
                    self.requests.append(Captured(raw))
                    connection.sendall(REPLY)
                    # A close with unread bytes would reset the reply away.
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass
            except OSError:
                pass


def _read_request(connection):
    raw = b""
    while not _complete(raw):
        piece = connection.recv(65536)
        if not piece:
            return raw
        raw += piece
    return raw


def _complete(raw):
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank:
        return False
    headers = dict(Captured(head + blank).headers)
    if "chunked" in headers.get("transfer-encoding", ""):
        # Trailers stand between the last chunk and a final empty line.
        _, last, trailers = (b"\r\n" + body).partition(b"\r\n0\r\n")
        return bool(last) and (trailers.startswith(b"\r\n") or trailers.endswith(b"\r\n\r\n"))
    return len(body) >= int(headers.get("content-length") or 0)
