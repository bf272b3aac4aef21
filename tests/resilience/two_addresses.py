"""One address takes all it can; a client at another is served. Loopback has no limit by address, so this needs others.

usage, in a network namespace of its own: python3 -m tests.resilience.two_addresses BINARY FOLDER

It prints what it saw as one line of JSON.
"""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.resilience.environment import Environment
from tests.support import procs
from tests.support.fake_gateway import FakeGateway

SHIM, GREEDY, GOOD = "198.18.79.1", "198.18.79.2", "198.18.79.3"
RESTING = TRICKLING = 1000
SECONDS = 15


def connections(port, count, first):
    """As many as are let in; each with the first bytes sent."""
    made = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            one = socket.create_connection((SHIM, port), timeout=2, source_address=(GREEDY, 0))
            made.append(one)
            one.sendall(first)
            one.setblocking(False)
    return made


def ask(env):
    """A good client's request on a connection of its own: how long it took, in seconds."""
    begun = time.monotonic()
    client = http.client.HTTPConnection(SHIM, env.port, timeout=10, source_address=(GOOD, 0))
    try:
        client.request("GET", "/v1/models", headers={"Authorization": f"Bearer {env.token}"})
        answer = client.getresponse()
        answer.read()
        assert answer.status == 200, f"the good client got {answer.status}"
    finally:
        client.close()
    return time.monotonic() - begun


def main():
    binary, folder = map(Path, sys.argv[1:3])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (SHIM, GREEDY, GOOD):
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
    gateway = FakeGateway(folder)
    env = Environment(binary, folder / "two-addresses", gateway)
    env.config.write_text(env.config.read_text().replace(f'"127.0.0.1:{env.port}"', f'"{SHIM}:{env.port}"'))
    child = procs.Child([binary, "run", "--config", env.config], folder / "shim.log")

    def serves():
        with contextlib.suppress(OSError):
            return ask(env)
        return None

    try:
        procs.until(serves, 20, "scopeshim")
        resting = connections(env.port, RESTING, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {env.token}\r\n"
                "Content-Length: 100000\r\n\r\n").encode()
        trickling = connections(env.port, TRICKLING, head)
        times, refilled, end = [], 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            for one in trickling:
                with contextlib.suppress(OSError):
                    one.send(b"a")
            # Whoever is turned away comes again.
            refilled += len(new := connections(env.port, 20, head))
            trickling += new
            times.append(ask(env))
        print(json.dumps({"connected": len(resting) + len(trickling), "again": refilled, "asked": len(times),
                          "slowest_ms": round(max(times) * 1000)}))
    finally:
        child.kill()
        env.close()
        gateway.stop()


if __name__ == "__main__":
    main()
