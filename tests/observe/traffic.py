"""Traffic of every sort, so that every metric has something to tell."""

import base64
import socket
import threading
from urllib.parse import urlsplit

from tests.support import clients, procs, shim

CHAT = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}]}
# What a hostile caller puts where people read: markup, quotes, escapes, the begin of a log line.
HOSTILE_PATHS = ["/<img/src=x/onerror=document.title='owned'>", "/<script>document.title='owned'</script>",
                 "/\"'`{{7*7}}${7*7}", "/a%0a%0d{\"level\":\"ERROR\"}%1b[31m", "/" + "long" * 200]
HOSTILE_NAME = "<b onmouseover=\"document.title='owned'\">Eve</b>\u202eevE"


def one_round(harness):
    """Every decision, every identity source that is here, many reasons, a stream."""
    reader, writer = shim.TOKENS["reader"], shim.TOKENS["open-webui"]
    for token in (reader, writer, shim.TOKENS["owner"], harness.passing, harness.mode.secret, harness.jwt()):
        harness.ask(token=token)
    harness.ask("/v1/chat/completions", writer, body=CHAT)
    harness.ask("/v1/chat/completions", writer, body={**CHAT, "stream": True})
    harness.ask("/v1/chat/completions", reader, body=CHAT)
    harness.ask(token=reader, headers=[("x-openclaw-scopes", "operator.admin, made.up")])
    harness.ask(token=writer, headers=[("x-openclaw-scopes", "operator.read"), ("x-forwarded-for", "10.0.0.1"),
                                   ("x-openclaw-user", "root"), ("cookie", f"session={harness.secret('cookie')}")])
    harness.ask()
    harness.ask(token=harness.secret("guess"))
    harness.ask(token=harness.jwt(valid=-3600))
    harness.ask(token=harness.jwt(key=harness.secret("wrong-key")))
    harness.ask(token=harness.jwt(scope=""))
    basic = base64.b64encode(f"admin:{harness.secret('password')}".encode()).decode()
    harness.secrets.append(basic)
    harness.ask(headers=[("authorization", f"Basic {basic}")])
    harness.ask(f"/v1/models?token={harness.secret('query')}", reader)
    harness.ask("/v1/../v1/models", reader)
    clients.raw(harness.url, f"GET /{harness.secret('head')} HTTP/1.1\r\nbad header {harness.secret('line')}\r\n\r\n".encode())
    for path in HOSTILE_PATHS:
        clients.raw_get(harness.url, path, [("authorization", f"Bearer {reader}")])
    harness.ask("/v1/chat/completions", harness.jwt(HOSTILE_NAME), body=CHAT)
    hang_up(harness, writer)


def hang_up(harness, token):
    """A client that goes before the answer."""
    parts = urlsplit(harness.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                           "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode())


class Going:
    """Rounds in the background until it is stopped."""

    def __init__(self, harness):
        self._harness, self._stop = harness, threading.Event()
        self.failed, self._rounds = None, 0
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self):
        try:
            while not self._stop.wait(0.2):
                one_round(self._harness)
                self._rounds += 1
        except Exception as why:
            self.failed = why

    def wait_for(self, rounds):
        procs.until(lambda: self.failed or self._rounds >= rounds, 30, f"{rounds} rounds of traffic")

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        if self.failed:
            raise self.failed
