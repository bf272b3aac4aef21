"""A client of many event streams. Prints what it saw, as JSON.

usage: sse_client.py PORT TOKEN STREAMS COUNT

With COUNT, reads until every stream ended, and tells the delays. With COUNT 0 opens the streams, prints `open` when
each has its first event, and holds them until a line comes on standard input.
"""

import json
import re
import select
import socket
import sys
import time

PORT, TOKEN, STREAMS, COUNT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PATIENCE_SECONDS, AT_ONCE = 240, 100
BODY = b'{"model":"openclaw","stream":true,"messages":[]}'
REQUEST = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
           b"accept: text/event-stream\r\ncontent-length: %d\r\n\r\n%s") % (TOKEN.encode(), len(BODY), BODY)
EVENT = re.compile(rb'data: \{"n":(\d+),"t":(\d+)\}\n\n')


class Stream:
    """Takes the chunked answer apart as it comes."""

    def __init__(self):
        self.sock = socket.create_connection(("127.0.0.1", PORT), 10)
        self.sock.setblocking(False)
        self.sock.sendall(REQUEST)
        self.raw, self.text = b"", b""
        self.headed = self.ended = False
        self.seen = 0

    def feed(self, data, now, delays):
        self.raw += data
        if not self.headed:
            head, end, rest = self.raw.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 200 " not in head[:20]:
                raise SystemExit(f"the answer is {self.raw[:300]!r}")
            self.raw, self.headed = rest, True
        while (line := self.raw.find(b"\r\n")) >= 0:
            size = int(self.raw[:line].split(b";")[0], 16)
            if len(self.raw) < line + 2 + size + 2:
                break
            self.text += self.raw[line + 2:line + 2 + size]
            self.raw = self.raw[line + 4 + size:]
            self.ended = size == 0
        at = 0
        for event in EVENT.finditer(self.text):
            self.seen += int(event[1]) == self.seen + 1
            delays.append(now - int(event[2]))
            at = event.end()
        self.text = self.text[at:]


def main():
    poll, streams, delays = select.epoll(), {}, []
    waiting, going = 0, STREAMS
    deadline = time.monotonic() + PATIENCE_SECONDS
    opened = False
    while going:
        while len(streams) < STREAMS and waiting < AT_ONCE:
            stream = Stream()
            streams[stream.sock.fileno()] = stream
            poll.register(stream.sock, select.EPOLLIN)
            waiting += 1
        if not opened and waiting == 0:
            # What was measured while streams were still being opened does not count.
            opened = True
            delays.clear()
            if not COUNT:
                print("open", flush=True)
                sys.stdin.readline()
                break
        if time.monotonic() > deadline:
            break
        for number, _ in poll.poll(1):
            stream = streams[number]
            data = stream.sock.recv(65536)
            before = stream.seen
            if data:
                stream.feed(data, time.monotonic_ns(), delays)
            if not before and (stream.seen or not data):
                waiting -= 1
            if stream.ended or not data:
                poll.unregister(stream.sock)
                going -= 1
    for stream in streams.values():
        stream.sock.close()
    if COUNT:
        lost = STREAMS * COUNT - sum(stream.seen for stream in streams.values())
        delays.sort()
        quantiles = {f"p{q}_us": delays[len(delays) * q // 100] / 1000 if delays else None for q in (50, 99)}
        print(json.dumps({**quantiles, "lost": lost, "counted": len(delays)}))


main()
