"""An upstream for large bodies: takes what is sent to it, and sends SIZE bytes to GET (nothing to …/small).

usage: body_server.py PORT SIZE
"""

import re
import socketserver
import sys

PORT, SIZE = int(sys.argv[1]), int(sys.argv[2])
BLOCK = bytes(256 * 1024)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        room, kept = bytearray(len(BLOCK)), b""
        while True:
            while b"\r\n\r\n" not in kept:
                part = self.request.recv(65536)
                if not part:
                    return
                kept += part
            head, _, kept = kept.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            left = (int(length[1]) if length else 0) - len(kept)
            kept = b""
            while left > 0:
                got = self.request.recv_into(room)
                if not got:
                    return
                left -= got
            size = SIZE if head.startswith(b"GET") and b"/small" not in head.split(b"\r\n")[0] else 2
            self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size)
            while size:
                block = BLOCK[:size]
                self.request.sendall(block)
                size -= len(block)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


Server(("127.0.0.1", PORT), Handler).serve_forever()
