"""What holds a worker for long: the time between two looks of a worker at its sockets, by strace, while streams are open.

strace stops the process at these calls alone (--seccomp-bpf). What takes a worker's time away from outside counts too, so
this needs a quiet machine; it says what a turn took, not whose fault it was. There is one request at a time, so a long
turn is one long task.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import machine, policies
from tests.bench.candidates import Bench, Candidate
from tests.bench.report import Row
from tests.support import procs

CLIENT = Path(__file__).resolve().parent.parent / "sse_client.py"
LONG_US = 200
# As strace -ff -ttt -T writes a call: when it began, and how long it took.
_CALL = re.compile(r"^(\d+\.\d+) epoll_p?wait.* <(\d+\.\d+)>$")
_CAN = ["strace", "-f", "--seccomp-bpf", "-ttt", "-T", "-e", "trace=epoll_wait,epoll_pwait", "-e", "signal=none"]


def rows(options):
    if not shutil.which("strace"):
        raise RuntimeError("strace is missing: tests/setup.sh bench")
    with Bench(options) as bench:
        phases, turns = watched(bench, options)
    for phase, begun, ended in phases:
        inside = [took for at, took in turns if begun <= at < ended]
        long = [took for took in inside if took > LONG_US]
        yield Row(f"turns of a worker over {LONG_US} µs: {phase}", "0",
                  f"{len(long)} of {len(inside):,}; longest {max(inside, default=0):,.0f} µs", "", not long)


def come_and_go(port):
    """One stream, up to its first event."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(f"GET /v1/models HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {policies.token(8)}\r\n\r\n".encode())
        got = b""
        while b"data:" not in got:
            part = sock.recv(65536)
            if not part:
                raise RuntimeError(f"the stream ended: {got[:300]!r}")
            got += part


def watched(bench, options):
    upstream = bench.script("sse_server.py", 0, 100)
    folder, port = bench.folder(), procs.free_port()
    text = policies.scopeshim(folder, port, upstream.port, level="info")
    (folder / "config").write_text(text)
    # Elsewhere: what is written beside the configuration wakes who watches it.
    written = bench.folder()
    command = [*_CAN, "-ff", "-o", written / "calls", options.binary, "run", "--config", folder / "config"]
    one = bench._keep(Candidate("scopeshim", port, command, folder, env={"MIMALLOC_PURGE_DELAY": "0"})).wait()
    # Whoever watches the file waits in the same call, and is called otherwise.
    workers = [task.name for pid in machine.family(one.pid) for task in Path(f"/proc/{pid}/task").iterdir()
               if (task / "comm").read_text().strip() == "scopeshim"]
    phases = []

    def phase(name, do):
        begun = time.time()
        do()
        phases.append((name, begun, time.time()))
        print(f"  turns: {name}", file=sys.stderr, flush=True)

    def reload(changed):
        beside = folder / "new"
        beside.write_text(changed)
        os.rename(beside, folder / "config")
        time.sleep(2)

    with machine.on(machine.LOAD):
        client = subprocess.Popen([sys.executable, CLIENT, str(port), policies.token(7), str(options.idle_streams), "0"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    procs.adopt(client)
    if client.stdout.readline().strip() != "open":
        raise RuntimeError(f"the streams did not open:\n{one.child.tail()}")
    streams = f"{options.idle_streams:,} open streams"
    phase(f"{streams}, nothing else", lambda: time.sleep(3))
    phase(f"{streams}, others that come and go", lambda: [come_and_go(port) for _ in range(100)])
    # Other tokens' scopes: every stream is checked again and stays.
    phase(f"{streams}, a reload", lambda: reload(text.replace(policies.named(9), policies.named(9, "operator.read"))))
    phase(f"{streams}, a reload that ends them", lambda: reload(text.replace(policies.named(7), "")))
    client.stdin.close()
    client.wait(60)
    procs.disown(client)
    bench.stop(one)
    calls = [file for file in (written / f"calls.{worker}" for worker in workers) if file.exists()]
    turns = []
    for file in calls:
        ended = None
        for line in file.read_text().splitlines():
            if call := _CALL.match(line):
                at, took = float(call[1]), float(call[2])
                if ended is not None:
                    turns.append((ended, (at - ended) * 1e6))
                ended = at + took
    if not turns:
        raise RuntimeError(f"strace saw no worker:\n{one.child.tail()}")
    return phases, turns
