"""A gateway of WebSockets that costs next to nothing: challenge, hello, and an answer as large as what was sent.

usage: ws_server.py PORT
"""

import base64
import hashlib
import json
import re
import select
import socket
import sys

from ws_frames import header, split

PORT = int(sys.argv[1])
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHALLENGE = json.dumps({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}}).encode()


class Socket:
    """Head, then `connect`, then frames, of which only the length counts."""

    def __init__(self, sock):
        self.sock, self.held, self.headed, self.connected = sock, bytearray(), False, False
        self.left = 0

    def feed(self, data):
        if self.left >= len(data) and self.left:
            self.left -= len(data)
            if not self.left:
                self.answer()
            return
        self.held += data[self.left:]
        if self.left:
            self.left = 0
            self.answer()
        if not self.headed:
            head, end, rest = bytes(self.held).partition(b"\r\n\r\n")
            if not end:
                return
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            if not key:
                # The proxy asks what kind of gateway this is.
                self.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                raise OSError("no WebSocket")
            accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
            self.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + header(1, len(CHALLENGE)) + CHALLENGE)
            self.held, self.headed = bytearray(rest), True
        while found := split(self.held):
            opcode, start, size, mask = found
            if self.connected and opcode == 2:
                came = len(self.held) - start
                self.size = size
                if came < size:
                    self.left = size - came
                    self.held.clear()
                    return
                del self.held[:start + size]
                self.answer()
                continue
            if len(self.held) < start + size:
                return
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(self.held[start:start + size]))
            del self.held[:start + size]
            if opcode == 1:
                self.request(json.loads(payload))

    def request(self, asked):
        self.connected = True
        auth = {"role": "operator", "scopes": asked["params"].get("scopes", [])}
        said = {"type": "res", "id": asked["id"], "ok": True,
                "payload": {"type": "hello-ok", "protocol": 4, "server": {"version": "2026.9.6"}, "auth": auth}}
        text = json.dumps(said).encode()
        self.write(header(1, len(text)) + text)

    def answer(self):
        self.write(header(2, self.size))
        self.write(bytes(self.size))

    def write(self, data):
        self.sock.setblocking(True)
        self.sock.sendall(data)
        self.sock.setblocking(False)


def main():
    listener = socket.create_server(("127.0.0.1", PORT), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    sockets = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setblocking(False)
                sockets[sock.fileno()] = Socket(sock)
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = sockets[number].sock.recv(1 << 20)
                if data:
                    sockets[number].feed(data)
            except OSError:
                data = b""
            if not data:
                sockets.pop(number).sock.close()


main()
