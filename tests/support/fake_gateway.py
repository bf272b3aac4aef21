"""A fake gateway that does as release 2026.3.28 does (its secret, and the scopes header, or nothing), for long and quick work.

usage: python3 fake_gateway.py SECRET [--port N] [--stream SECONDS]

It prints its port. A chat's body says how many events come and how far apart: {"stream": true, "events": 5, "every_ms": 100};
with --stream every chat is a stream of so many seconds. WebSockets answer a request with its own parameters.
"""

import argparse
import asyncio
import base64
import hashlib
import http.client
import json
import secrets
import struct
import sys
from pathlib import Path

MODELS = json.dumps({"object": "list", "data": [{"id": "openclaw", "object": "model"}]}).encode()
HEALTH = ("/health", "/healthz", "/ready", "/readyz")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class FakeGateway:
    """This file in a process of its own, so that neither slows the other down."""

    def __init__(self, folder):
        # Within a system under test this file is a program alone.
        from tests.support import procs

        self.secret = f"gateway-{secrets.token_hex(16)}"
        self.child = procs.Child([sys.executable, "-u", __file__, self.secret], Path(folder) / "gateway.log")
        said = procs.until(lambda: self.child.log.read_text().split(), 20, "the fake gateway", every=0.02)
        self.port = int(said[0])

    def health_asked(self):
        """How often somebody asked it for its health."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/asked")
            return int(connection.getresponse().read())
        finally:
            connection.close()

    def stop(self):
        self.child.kill()


def answer(status, body, kind="application/json"):
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def error(status, message):
    return answer(status, json.dumps({"error": {"message": message}}).encode())


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def frame(payload, opcode=1):
    size = len(payload)
    head = struct.pack("!BB", 0x80 | opcode, size) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 126, size)
    return head + payload


class Server:
    def __init__(self, secret, stream=None):
        self._secret, self._stream, self._health = secret, stream, 0

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                if headers.get("upgrade"):
                    await websocket(reader, writer, headers)
                    return
                body = await reader.readexactly(int(headers.get("content-length") or 0))
                await self._answer(writer, method, target, headers, body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer, method, target, headers, body):
        needed = "operator.write" if method == "POST" else "operator.read"
        held = headers.get("x-openclaw-scopes", "").split(",")
        if target == "/asked":
            writer.write(answer("200 OK", str(self._health).encode()))
        elif target in HEALTH:
            self._health += 1
            writer.write(answer("200 OK", b'{"ok":true}'))
        elif headers.get("authorization") != f"Bearer {self._secret}":
            writer.write(error("401 Unauthorized", "Unauthorized"))
        elif needed not in held and "operator.admin" not in held:
            writer.write(error("403 Forbidden", f"missing scope: {needed}"))
        elif method == "POST":
            await self._chat(writer, json.loads(body or b"{}"))
        else:
            writer.write(answer("200 OK", MODELS))

    async def _chat(self, writer, asked):
        if self._stream is not None:
            asked = {"stream": True, "events": int(self._stream * 10), **asked}
        if not asked.get("stream"):
            writer.write(answer("200 OK", b'{"choices":[]}'))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(asked.get("events", 5)):
            writer.write(chunk(b'data: {"n":%d}\n\n' % number))
            await writer.drain()
            await asyncio.sleep(asked.get("every_ms", 100) / 1000)
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def websocket(reader, writer, headers):
    accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + GUID).digest()).decode()
    writer.write((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
    challenge = {"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}}
    writer.write(frame(json.dumps(challenge).encode()))
    while True:
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", await reader.readexactly(2))[0]
        mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(size)))
        opcode = first & 0x0F
        if opcode == 8:
            writer.write(frame(payload, 8))
            return
        if opcode == 9:
            writer.write(frame(payload, 10))
        elif opcode == 1:
            asked = json.loads(payload)
            said = {"type": "res", "id": asked["id"], "ok": True, "payload": asked.get("params")}
            if asked.get("method") == "connect":
                scopes = asked["params"].get("scopes", [])
                said["payload"] = {"type": "hello-ok", "protocol": 4, "auth": {"role": "operator", "scopes": scopes}}
            writer.write(frame(json.dumps(said).encode()))
        await writer.drain()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("secret")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--stream", type=float, metavar="SECONDS")
    options = parser.parse_args()
    server = await asyncio.start_server(Server(options.secret, options.stream).serve, "127.0.0.1", options.port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
