"""A client of WebSockets. Prints what it saw, as JSON.

usage: ws_client.py PORT TOKEN open COUNT        opens so many, holds them until a line comes on standard input
       ws_client.py PORT TOKEN handshakes COUNT  one after the other: from the first byte to hello-ok
       ws_client.py PORT TOKEN bulk COUNT        so many 25 MiB frames there and back
"""

import json
import select
import socket
import statistics
import sys
import time

from ws_frames import header, split

PORT, TOKEN, WHAT, COUNT = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
AT_ONCE, PATIENCE_SECONDS = 64, 240
LARGE = 25 * 1024 * 1024
UPGRADE = (f"GET / HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
           "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode()
CONNECT = json.dumps({"type": "req", "id": "1", "method": "connect", "params": {
    "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"], "auth": {"token": TOKEN},
    "client": {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}}}).encode()


class Client:
    def __init__(self):
        self.begun = time.monotonic_ns()
        self.sock = socket.create_connection(("127.0.0.1", PORT), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(UPGRADE)
        self.held, self.headed, self.hello_ns = bytearray(), False, None

    def feed(self, data):
        """Whether the hello is there."""
        self.held += data
        if not self.headed:
            head, end, rest = bytes(self.held).partition(b"\r\n\r\n")
            if not end:
                return False
            if b" 101 " not in head[:20]:
                raise OSError(f"the answer is {head[:200]!r}")
            self.held, self.headed = bytearray(rest), True
        while found := split(self.held):
            opcode, start, size, _ = found
            if len(self.held) < start + size:
                return False
            text = bytes(self.held[start:start + size])
            del self.held[:start + size]
            if opcode != 1:
                raise OSError(f"opcode {opcode}: {text[:200]!r}")
            if b"connect.challenge" in text:
                self.sock.sendall(header(1, len(CONNECT), masked=True) + CONNECT)
            elif b'"hello-ok"' in text:
                self.hello_ns = time.monotonic_ns()
                return True
            else:
                raise OSError(f"no hello: {text[:200]!r}")
        return False

    def connect(self):
        while not self.feed(self.sock.recv(65536) or self.lost()):
            pass
        return self

    @staticmethod
    def lost():
        raise OSError("closed")


def opened():
    poll, clients, under_way, lost, why = select.epoll(), {}, 0, 0, ""
    begun = done = 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while begun < COUNT or under_way:
        while begun < COUNT and under_way < AT_ONCE:
            client = Client()
            clients[client.sock.fileno()] = client
            poll.register(client.sock, select.EPOLLIN)
            begun, under_way = begun + 1, under_way + 1
        if time.monotonic() > deadline:
            lost += under_way
            break
        for number, _ in poll.poll(1):
            client = clients[number]
            try:
                ready = client.feed(client.sock.recv(65536) or client.lost())
            except OSError as error:
                lost, why, ready = lost + 1, str(error), True
            if ready:
                done, under_way = done + 1, under_way - 1
                poll.unregister(client.sock)
    print(json.dumps({"lost": lost, "why": why}), flush=True)
    sys.stdin.readline()
    for client in clients.values():
        client.sock.close()


def handshakes():
    took = []
    for _ in range(COUNT):
        client = Client().connect()
        took.append((client.hello_ns - client.begun) / 1000)
        client.sock.close()
    print(json.dumps({"p50_us": statistics.median(took)}))


def bulk():
    sock = Client().connect().sock
    sock.setblocking(True)
    there, buffer = header(2, LARGE, masked=True) + bytes(LARGE), bytearray(1 << 20)
    begun = time.monotonic()
    for _ in range(COUNT):
        sock.sendall(there)
        left = len(header(2, LARGE)) + LARGE
        while left:
            came = sock.recv_into(buffer, min(left, len(buffer)))
            if not came:
                raise SystemExit("closed")
            left -= came
    print(json.dumps({"mib_s": 2 * COUNT * LARGE / (1 << 20) / (time.monotonic() - begun)}))


{"open": opened, "handshakes": handshakes, "bulk": bulk}[WHAT]()
