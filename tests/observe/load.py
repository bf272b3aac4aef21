#!/usr/bin/env python3
"""Makes requests from a process of its own, so that what measures is not slowed by what loads.

Reads one JSON object from standard input, writes one: how many of which status, and how long they took.
"""

import json
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit


def answer(stream):
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    stream.read(length)
    return status


def main():
    asked = json.load(sys.stdin)
    parts = urlsplit(asked["url"])
    address = (parts.hostname, parts.port)
    statuses, times = {}, []
    begun = time.monotonic()
    connection = socket.create_connection(address, timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    for number in range(asked["count"]):
        at = time.monotonic()
        if at - begun > asked["seconds"]:
            break
        target, token = (asked[key].replace("{n}", f"{number:06d}") for key in ("target", "token"))
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        connection.sendall(head.encode())
        status = answer(stream)
        times.append(time.monotonic() - at)
        statuses[status] = statuses.get(status, 0) + 1
        if asked.get("rate"):
            time.sleep(max(0, begun + (number + 1) / asked["rate"] - time.monotonic()))
    seconds = time.monotonic() - begun
    times.sort()

    def at(share):
        return times[min(len(times) - 1, int(len(times) * share))] * 1000

    print(json.dumps({"statuses": statuses, "count": len(times), "rate": len(times) / seconds,
                      "p50_ms": at(0.5), "p99_ms": at(0.99)}))


def begin(harness, target, token, seconds, count=1_000_000, rate=None):
    """Begins a load in a process of its own; give the result to `ended`."""
    from tests.support import procs

    asked = {"url": harness.url, "target": target, "token": token, "seconds": seconds, "count": count, "rate": rate}
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    procs.adopt(process)
    process.stdin.write(json.dumps(asked))
    process.stdin.close()
    return process


def ended(process):
    """What became of it."""
    from tests.support import procs

    said = process.stdout.read()
    process.wait(60)
    procs.disown(process)
    if process.returncode:
        raise RuntimeError("the load ended with an error")
    return json.loads(said)


if __name__ == "__main__":
    main()
