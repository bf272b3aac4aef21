#!/usr/bin/env python3
"""A stand-in gateway for long and quick work: models, event streams of any length, WebSockets that echo.

usage: gateway.py SECRET

Prints its port. A chat's body says how many events come and how far apart: {"stream": true, "events": 5, "every_ms": 100}
"""

import asyncio
import base64
import hashlib
import json
import struct
import sys

SECRET = sys.argv[1]
MODELS = json.dumps({"object": "list", "data": [{"id": "openclaw", "object": "model"}]}).encode()
# How often health was asked for; GET /asked says it.
HEALTH = 0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def answer(status, body, kind="application/json"):
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def frame(payload, opcode=1):
    size = len(payload)
    head = struct.pack("!BB", 0x80 | opcode, size) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 126, size)
    return head + payload


async def serve(reader, writer):
    global HEALTH
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
            if headers.get("upgrade"):
                return await websocket(reader, writer, headers)
            body = await reader.readexactly(int(headers.get("content-length") or 0))
            if target == "/asked":
                writer.write(answer("200 OK", str(HEALTH).encode()))
            elif target in ("/healthz", "/health"):
                HEALTH += 1
                writer.write(answer("200 OK", b'{"ok":true}'))
            elif headers.get("authorization") != f"Bearer {SECRET}":
                writer.write(answer("401 Unauthorized", b'{"error":{"message":"Unauthorized"}}'))
            elif method == "POST":
                await chat(writer, json.loads(body or b"{}"))
            else:
                writer.write(answer("200 OK", MODELS))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def chat(writer, asked):
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
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
