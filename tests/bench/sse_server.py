"""An upstream of event streams, each event stamped with the moment it is sent.

usage: sse_server.py PORT COUNT EVERY_MS

Each stream gets COUNT events and its end; with COUNT 0 one event, and then nothing: an idle stream. The streams'
events are spread evenly over the pause, or all would wait for each other.
"""

import heapq
import re
import select
import socket
import sys
import time

PORT, COUNT, EVERY_NS = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) * 1_000_000
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
GOLDEN = 0.6180339887


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server:
    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", PORT), backlog=4096)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._sockets, self._asked, self._sent = {}, {}, {}
        self._due, self._begun = [], 0

    def serve(self):
        while True:
            pause = (self._due[0][0] - time.monotonic_ns()) / 1e9 if self._due else 1
            for number, _ in self._poll.poll(max(0, pause)):
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._read(number)
            now = time.monotonic_ns()
            while self._due and self._due[0][0] <= now:
                self._event(*heapq.heappop(self._due))

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[sock.fileno()], self._asked[sock.fileno()] = sock, b""
        self._poll.register(sock, select.EPOLLIN)

    def _read(self, number):
        try:
            part = self._sockets[number].recv(65536)
        except OSError:
            part = b""
        if not part:
            return self._close(number)
        asked = self._asked[number] + part
        head, end, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not end or len(body) < (int(length[1]) if length else 0):
            self._asked[number] = asked
            return None
        self._asked[number], self._sent[number] = b"", 0
        self._begun += 1
        self._write(number, HEAD + (b"" if COUNT else self._stamped(number)))
        if COUNT:
            spread = int((self._begun * GOLDEN % 1) * EVERY_NS)
            heapq.heappush(self._due, (time.monotonic_ns() + spread, number, self._begun))
            self._asked[number] = self._begun

    def _event(self, due, number, stream):
        # The number may belong to a newer stream by now.
        if number not in self._sockets or self._asked[number] != stream:
            return None
        if self._sent[number] == COUNT:
            self._asked[number] = b""
            return self._write(number, b"0\r\n\r\n")
        self._write(number, self._stamped(number))
        heapq.heappush(self._due, (due + EVERY_NS, number, stream))

    def _stamped(self, number):
        self._sent[number] += 1
        return chunk(b'data: {"n":%d,"t":%d}\n\n' % (self._sent[number], time.monotonic_ns()))

    def _write(self, number, data):
        try:
            self._sockets[number].sendall(data)
        except OSError:
            self._close(number)

    def _close(self, number):
        sock = self._sockets.pop(number, None)
        if sock:
            self._asked.pop(number), self._sent.pop(number, None)
            sock.close()


Server().serve()
