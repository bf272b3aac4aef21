"""A gateway as release 2026.3.28 is: its secret, and the scopes header, or nothing.

usage: standin.py SECRET [SECONDS]     SECONDS: how long a chat streams
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = sys.argv[1]
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path in ("/health", "/healthz", "/ready", "/readyz"):
            return self._json(200, {"ok": True})
        if self._refused("operator.read"):
            return None
        return self._json(200, {"object": "list", "data": [{"id": "openclaw", "object": "model"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self._refused("operator.write"):
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        begun, number = time.monotonic(), 0
        while time.monotonic() - begun < SECONDS:
            number += 1
            self._chunk(f"data: {number}\n\n")
            time.sleep(0.1)
        self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _chunk(self, text):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))

    def _refused(self, needed):
        if self.headers.get("authorization") != f"Bearer {SECRET}":
            self._json(401, {"error": {"message": "Unauthorized"}})
            return True
        held = self.headers.get("x-openclaw-scopes", "").split(",")
        if needed not in held and "operator.admin" not in held:
            self._json(403, {"error": {"message": f"missing scope: {needed}"}})
            return True
        return False

    def _json(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 18789), Gateway).serve_forever()
