"""Load at a fixed rate, each request on a connection of its own; and event streams that are timed."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass

from tests.support import procs


@dataclass
class Outcome:
    begun: float
    ended: float
    # 200, another status, or 0 with the reason.
    status: int
    why: str = ""


def request(port, token, method="GET", target="/v1/models", body=None, seconds=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    begun = time.monotonic()
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, target, data, {"authorization": f"Bearer {token}", "content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return Outcome(begun, time.monotonic(), answer.status, text)
    except (OSError, http.client.HTTPException) as why:
        return Outcome(begun, time.monotonic(), 0, f"{type(why).__name__}: {why}")
    finally:
        connection.close()


class Load:
    """Runs from its making to `stop`, which waits for what is under way and gives every outcome."""

    def __init__(self, port, token, rate=200, patience=60):
        self.port, self.rate, self.patience = port, rate, patience
        self._bytes = f"GET /v1/models HTTP/1.1\r\nhost: resilience\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n".encode()
        self.outcomes, self._over = [], threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def stop(self):
        self._over.set()
        self._thread.join(self.patience + 30)
        if self._thread.is_alive():
            raise TimeoutError("the load did not end")
        return self.outcomes

    def wait_for(self, more):
        """Until so many requests that begin from now on have had their outcome."""
        now = time.monotonic()
        procs.until(lambda: sum(o.begun > now for o in list(self.outcomes)) >= more, self.patience, f"{more} more requests", every=0.02)

    async def _run(self):
        pending, begun, sent = set(), time.monotonic(), 0
        while not self._over.is_set():
            due = int((time.monotonic() - begun) * self.rate) - sent
            for _ in range(due):
                task = asyncio.create_task(self._one())
                pending.add(task)
                task.add_done_callback(pending.discard)
            sent += due
            await asyncio.sleep(1 / self.rate)
        await asyncio.gather(*list(pending))

    async def _one(self):
        begun, status, why = time.monotonic(), 0, ""
        try:
            async with asyncio.timeout(self.patience):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(self._bytes)
                    said = await reader.read()
                finally:
                    writer.close()
            status = int(said.split(b" ", 2)[1]) if said else 0
            why = "" if status == 200 else said.decode("utf-8", "replace")[:300] or "closed without an answer"
        except (OSError, TimeoutError, IndexError, ValueError) as error:
            why = type(error).__name__
        self.outcomes.append(Outcome(begun, time.monotonic(), status, why))


class Stream:
    """An event stream, read by a thread of its own."""

    def __init__(self, port, token, events, every_ms=100):
        body = json.dumps({"stream": True, "events": events, "every_ms": every_ms})
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._sock.sendall((
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: resilience\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}").encode())
        self._text, self.ended_at = b"", None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            while part := self._sock.recv(65536):
                self._text += part
                if self._text.endswith(b"0\r\n\r\n"):
                    break
        except OSError:
            pass
        self.ended_at = time.monotonic()

    @property
    def events(self):
        return self._text.count(b"data: {")

    @property
    def whole(self):
        return b"data: [DONE]" in self._text and self._text.endswith(b"0\r\n\r\n")

    def wait(self, seconds=60):
        self._thread.join(seconds)
        return self.ended_at

    def close(self):
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def failed(outcomes):
    return [o for o in outcomes if o.status != 200]


def kinds(outcomes):
    """What failures were, counted."""
    found = {}
    for o in outcomes:
        kind = f"{o.status} {o.why}" if o.status else o.why
        found[kind[:160]] = found.get(kind[:160], 0) + 1
    return found


def slowest(outcomes):
    return max((o.ended - o.begun for o in outcomes), default=0)
