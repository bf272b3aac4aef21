"""A WebSocket client of the gateway, down to its frames: it sends what it is told and no more."""

import base64
import json
import os
import socket
import struct
import time
from urllib.parse import urlsplit


class Closed(Exception):
    def __init__(self, code, reason=""):
        super().__init__(f"closed {code} {reason}".strip())
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The upgrade, or `connect`, was answered with an error."""

    def __init__(self, said, details=None):
        super().__init__(str(said))
        self.details = details or {}


class Socket:
    def __init__(self, url, headers=(), seconds=40, tls=None):
        where = urlsplit(url)
        self.sock = socket.create_connection((where.hostname, where.port), timeout=seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=where.hostname)
        lines = [f"GET {where.path or '/'} HTTP/1.1", f"Host: {where.netloc}", "Connection: Upgrade", "Upgrade: websocket",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                 *(f"{name}: {value}" for name, value in headers)]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.input = b""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        self.status = int(head.split(" ")[1])
        if self.status != 101:
            self.sock.settimeout(2)
            try:
                while True:
                    more = self.sock.recv(65536)
                    if not more:
                        break
                    self.input += more
            except OSError:
                pass
            self.close()
            raise Refused(f"{self.status} {self.input[:200].decode('utf-8', 'replace')}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, value, opcode=1):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        mask = os.urandom(4)
        length = len(data)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0xFE, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, length)
        key = int.from_bytes(mask * (length // 4 + 1), "big") >> (8 * (4 - length % 4)) if length else 0
        masked = (int.from_bytes(data, "big") ^ key).to_bytes(length, "big") if length else b""
        self.sock.sendall(head + mask + masked)

    def message(self):
        """The next text message; pings are answered, a close frame is raised."""
        whole = b""
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack("!H", self._exactly(2))[0]
            elif length == 127:
                length = struct.unpack("!Q", self._exactly(8))[0]
            payload = self._exactly(length)
            opcode = first & 0x0F
            if opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode("utf-8", "replace"))
            if opcode == 9:
                self.send(payload, 10)
            elif opcode in (0, 1):
                whole += payload
                if first & 0x80:
                    return json.loads(whole)

    def answer(self, number):
        while True:
            frame = self.message()
            if frame.get("type") == "res" and frame.get("id") == number:
                return frame

    def call(self, method, params=None):
        """The answer to a request: (ok, payload or the error's message)."""
        self.number = getattr(self, "number", 0) + 1
        self.send({"type": "req", "id": str(self.number), "method": method, "params": params or {}})
        frame = self.answer(str(self.number))
        return frame["ok"], frame.get("payload") if frame["ok"] else frame["error"].get("message", "")

    def connect(self, client="gateway-client", mode="ui", scopes=("operator.admin",), auth=None, sign=None, **more):
        """Waits for the challenge, connects; gives the hello. `sign` makes a device of the parameters and the nonce."""
        challenge = self.message()
        assert challenge["event"] == "connect.challenge", challenge
        params = {
            "minProtocol": 3, "maxProtocol": 4, "role": "operator",
            "client": {"id": client, "version": "1.0.0", "platform": "test", "mode": mode}, "caps": [], **more,
        }
        if scopes is not None:
            params["scopes"] = list(scopes)
        if auth:
            params["auth"] = auth
        if sign:
            params["device"] = sign(params, challenge["payload"]["nonce"])
        self.send({"type": "req", "id": "connect", "method": "connect", "params": params})
        frame = self.answer("connect")
        if not frame["ok"]:
            error = frame["error"]
            raise Refused(f"{error.get('code')}: {error.get('message')}", error.get("details"))
        return frame["payload"]

    def closed_within(self, seconds):
        """The code of the close frame, 0 for an end without one, None if it stays open."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self.sock.settimeout(max(0.05, deadline - time.monotonic()))
                self.message()
        except Closed as end:
            return end.code
        except TimeoutError:
            return None
        except OSError:
            return 0
        return None

    def _exactly(self, count):
        parts = [self.input[:count]]
        self.input = self.input[count:]
        left = count - len(parts[0])
        while left:
            more = self.sock.recv(min(left, 1 << 20))
            if not more:
                raise ConnectionError("the connection ended without a close frame")
            parts.append(more)
            left -= len(more)
        return b"".join(parts)

    def _until(self, end):
        while end not in self.input:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("the connection ended within the answer to the upgrade")
            self.input += more
        head, self.input = self.input.split(end, 1)
        return head
