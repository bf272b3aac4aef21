"""Large bodies, both ways: CPU for each GB, and memory."""

import socket
import sys

from tests.bench import machine, policies, turns
from tests.bench.candidates import Bench
from tests.bench.report import Row, median, ratio

SIZE = 20_000_000
_BLOCK = bytes(256 * 1024)


def rows(options):
    with Bench(options) as bench:
        upstream = bench.script("body_server.py", SIZE)
        # nginx is quickest with its buffers, in memory alone.
        fleet = {"nginx": bench.nginx(upstream, buffering="on"), "scopeshim": bench.scopeshim(upstream)}
        growth = {}
        for name, one in fleet.items():
            exchange(one.port, "GET", "/v1/models/small", 0)
            before = one.rss()
            machine.reset_peak(one.pid)
            for way in ("POST", "GET"):
                for _ in range(options.bodies):
                    transfer(one.port, way)
            growth[name] = max(0, machine.peak_rss(one.pid) - before) / 1e6
        print(f"  20 MB bodies, peak RSS grows, MB: {growth}", file=sys.stderr, flush=True)

        def fire(one, way):
            def run():
                before = one.cpu_seconds()
                for _ in range(options.bodies):
                    transfer(one.port, way)
                return (one.cpu_seconds() - before) * 1e9 / (SIZE * options.bodies)
            return run

        for way, title in (("POST", "up"), ("GET", "down")):
            todo = {name: fire(one, way) for name, one in fleet.items()}
            got = turns.in_turn(todo, options.repeats, f"20 MB bodies {title}, CPU s/GB")
            times, shown = ratio(got["scopeshim"], got["nginx"])
            yield Row(f"CPU per GB, 20 MB bodies {title}", "≤ 1.1 × nginx",
                      f"{median(got['scopeshim']):.2f} s; nginx {median(got['nginx']):.2f} s", shown,
                      times is not None and times <= 1.1)
    yield Row(f"peak RSS growth, {options.bodies} bodies of 20 MB each way", "≤ 2 MB",
              f"{growth['scopeshim']:.2f} MB; nginx {growth['nginx']:.2f} MB", "", growth["scopeshim"] <= 2)


def transfer(port, way):
    if way == "POST":
        exchange(port, way, "/v1/chat/completions", SIZE)
    elif (got := exchange(port, way, "/v1/models", 0)) != SIZE:
        raise RuntimeError(f"{got} of {SIZE} bytes arrived")


def exchange(port, method, path, size):
    """One request with a body of that size; gives back the size of the answer's."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        head = (f"{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {policies.token(7)}\r\n"
                f"content-type: application/json\r\nconnection: close\r\n")
        sock.sendall((head + (f"content-length: {size}\r\n\r\n" if size else "\r\n")).encode())
        while size:
            block = _BLOCK[:size]
            sock.sendall(block)
            size -= len(block)
        answer, room = b"", bytearray(len(_BLOCK))
        while b"\r\n\r\n" not in answer:
            part = sock.recv(65536)
            if not part:
                raise RuntimeError(f"no answer but {answer!r}")
            answer += part
        head, _, rest = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head[:20]:
            raise RuntimeError(f"the answer is {answer[:300]!r}")
        total = len(rest)
        while got := sock.recv_into(room):
            total += got
        return total
