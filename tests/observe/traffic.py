"""Traffic of every sort, so that every metric has something to tell."""

import base64
import socket
import threading
from urllib.parse import urlsplit

from tests.support import clients
from tests.support import shim

CHAT = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}]}
# What a hostile caller puts where people read: markup, quotes, escapes, the begin of a log line.
HOSTILE_PATHS = ["/<img/src=x/onerror=document.title='owned'>", "/<script>document.title='owned'</script>",
                 "/\"'`{{7*7}}${7*7}", "/a%0a%0d{\"level\":\"ERROR\"}%1b[31m", "/" + "long" * 200]
HOSTILE_NAME = "<b onmouseover=\"document.title='owned'\">Eve</b>\u202eevE"


def one_round(rig):
    """Every decision, every identity source that is here, many reasons, a stream."""
    reader, writer = shim.TOKENS["reader"], shim.TOKENS["open-webui"]
    for token in (reader, writer, shim.TOKENS["owner"], rig.passing, rig.mode.secret, rig.jwt()):
        rig.ask(token=token)
    rig.ask("/v1/chat/completions", writer, body=CHAT)
    rig.ask("/v1/chat/completions", writer, body={**CHAT, "stream": True})
    rig.ask("/v1/chat/completions", reader, body=CHAT)
    rig.ask(token=reader, headers=[("x-openclaw-scopes", "operator.admin, made.up")])
    rig.ask(token=writer, headers=[("x-openclaw-scopes", "operator.read"), ("x-forwarded-for", "10.0.0.1"),
                                   ("x-openclaw-user", "root"), ("cookie", f"session={rig.secret('cookie')}")])
    rig.ask()
    rig.ask(token=rig.secret("guess"))
    rig.ask(token=rig.jwt(valid=-3600))
    rig.ask(token=rig.jwt(key=rig.secret("wrong-key")))
    rig.ask(token=rig.jwt(scope=""))
    basic = base64.b64encode(f"admin:{rig.secret('password')}".encode()).decode()
    rig.secrets.append(basic)
    rig.ask(headers=[("authorization", f"Basic {basic}")])
    rig.ask(f"/v1/models?token={rig.secret('query')}", reader)
    rig.ask("/v1/../v1/models", reader)
    clients.raw(rig.url, f"GET /{rig.secret('head')} HTTP/1.1\r\nbad header {rig.secret('line')}\r\n\r\n".encode())
    for path in HOSTILE_PATHS:
        clients.raw_get(rig.url, path, [("authorization", f"Bearer {reader}")])
    rig.ask("/v1/chat/completions", rig.jwt(HOSTILE_NAME), body=CHAT)
    hang_up(rig, writer)


def hang_up(rig, token):
    """A client that goes before the answer."""
    parts = urlsplit(rig.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                           "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode())


class Going:
    """Rounds in the background until it is stopped."""

    def __init__(self, rig):
        self._rig, self._stop, self.failed = rig, threading.Event(), None
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self):
        try:
            while not self._stop.wait(0.2):
                one_round(self._rig)
        except Exception as why:
            self.failed = why

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        if self.failed:
            raise self.failed
