"""WebSockets: upgrades lost, what an idle tunnel holds, what the handshake adds, how fast large frames go."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import machine, policies, turns
from tests.bench.candidates import Bench, output
from tests.bench.report import Row, median, ratio
from tests.support import procs

CLIENT = Path(__file__).resolve().parent.parent / "ws_client.py"
FRAMES = 8


def rows(options):
    yield from idle(options)
    yield from speed(options)


def idle(options):
    held, lost = [], 0
    for turn in range(options.repeats):
        with Bench(options) as bench:
            one = bench.scopeshim(bench.script("ws_server.py"))
            each, gone, why = hold(one, options.idle_streams)
        held.append(each)
        lost += gone
        print(f"  idle tunnels, turn {turn + 1}: {each:.1f} KiB each, {gone} lost {why}", file=sys.stderr, flush=True)
    yield Row(f"WebSocket: upgrades lost of {options.repeats} × {options.idle_streams:,}, 64 at once", "0", str(lost), "",
              lost == 0)
    yield Row(f"RSS per idle WebSocket tunnel at {options.idle_streams:,}", "≤ 12 KiB", f"{median(held):.1f} KiB", "",
              median(held) <= 12)


def hold(one, count):
    command = [sys.executable, str(CLIENT), str(one.port), policies.token(7), "open", str(count)]
    before = one.rss()
    with machine.on(machine.LOAD):
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    procs.adopt(client)
    try:
        said = json.loads(client.stdout.readline() or "{}")
        if "lost" not in said:
            raise RuntimeError(f"the sockets did not open:\n{one.child.tail()}")
        time.sleep(1)
        during = one.rss()
        client.stdin.write("close\n")
        client.stdin.flush()
        client.wait(60)
    finally:
        client.kill()
        client.wait(10)
        procs.disown(client)
    return (during - before) / 1024 / count, said["lost"], said["why"]


def speed(options):
    with Bench(options) as bench:
        gateway = bench.script("ws_server.py")
        fleet = {"direct": gateway, "scopeshim": bench.scopeshim(gateway)}

        def fire(name, what, count, key):
            command = [sys.executable, CLIENT, fleet[name].port, policies.token(7), what, count]
            return lambda: json.loads(output(command, 300))[key]

        many = 100 * options.seconds
        took = turns.in_turn({name: fire(name, "handshakes", many, "p50_us") for name in fleet}, options.repeats,
                             "handshake p50, us")
        rate = turns.in_turn({name: fire(name, "bulk", FRAMES, "mib_s") for name in fleet}, options.repeats,
                             "25 MiB frames, MiB/s")
    added = median(took["scopeshim"]) - median(took["direct"])
    yield Row("WebSocket: handshake added, p50", "< 1 ms", f"{added:.0f} µs; direct {median(took['direct']):.0f} µs in all", "",
              added < 1000)
    times, shown = ratio(rate["scopeshim"], rate["direct"])
    yield Row("WebSocket: 25 MiB frames there and back", "≥ 0.4 × direct",
              f"{median(rate['scopeshim']):,.0f} MiB/s; direct {median(rate['direct']):,.0f} MiB/s", shown,
              times is not None and times >= 0.4)
