"""A fake OpenAI-compatible model: streams a few words with a pause between them."""

import contextlib
import json
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ["one ", "two ", "three ", "four ", "five ", "six"]
TEXT = "".join(WORDS)


class Call:
    def __init__(self, stream):
        self.at = time.monotonic()
        self.stream = stream
        self.hung_up_at = None
        self.done = False


class Model:
    """`pause` may be changed between requests; `calls` holds every request seen."""

    def __init__(self, pause=0.05, port=0):
        self.pause = pause
        self.calls = []
        model = self

        class Handler(_Handler):
            owner = model

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.connections = set()
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    @staticmethod
    def words_seconds(pause):
        """Seconds between the first and the last word as the model makes them."""
        return pause * (len(WORDS) - 1)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        # Those that are kept alive too.
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None
    # Head and body are written apart; without this the body waits for the client to confirm the head.
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.owner.connections.add(self.connection)

    def finish(self):
        self.owner.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_args):
        pass

    def do_GET(self):
        try:
            self._json({"object": "list", "data": [{"id": "mock", "object": "model"}]})
        except OSError:
            self.close_connection = True

    def do_POST(self):
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        except ValueError:
            return self.send_error(400)
        call = Call(bool(body.get("stream")))
        self.owner.calls.append(call)
        try:
            if call.stream:
                self._stream(call)
            else:
                self._json(_whole())
        except OSError:
            call.hung_up_at = call.hung_up_at or time.monotonic()
            self.close_connection = True
        call.done = True

    def _json(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, call):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pause = self.owner.pause
        for number, word in enumerate(WORDS):
            if number and self._gone_within(pause):
                raise ConnectionAbortedError
            delta = {"content": word}
            if number == 0:
                delta["role"] = "assistant"
            self._event(_chunk(delta, None))
        self._event(_chunk({}, "stop"))
        self._event({**_chunk({}, None), "choices": [], "usage": _USAGE})
        self._piece(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, value):
        self._piece(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _gone_within(self, seconds):
        """Waits, and tells whether the caller closed its connection meanwhile."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""


_USAGE = {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}


def _base(kind):
    return {"id": "chatcmpl-fake", "object": kind, "created": int(time.time()), "model": "mock"}


def _chunk(delta, finish):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_base("chat.completion.chunk"), "choices": [choice]}


def _whole():
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    return {**_base("chat.completion"), "choices": [choice], "usage": _USAGE}
