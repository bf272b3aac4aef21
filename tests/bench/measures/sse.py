"""Event streams: the delay a proxy adds, events lost, memory held and given back."""

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

EVERY_MS = 100
CLIENT = Path(__file__).resolve().parent.parent / "sse_client.py"


def rows(options):
    yield from delays(options)
    yield from memory(options)


def delays(options):
    # The first events come while streams are still being opened.
    count = (options.seconds + 3) * 1000 // EVERY_MS
    lost = {}
    with Bench(options) as bench:
        upstream = bench.script("sse_server.py", count, EVERY_MS)
        fleet = {"direct": upstream, "nginx": bench.nginx(upstream), "scopeshim": bench.scopeshim(upstream)}

        def fire(name):
            def run():
                command = [sys.executable, CLIENT, fleet[name].port, policies.token(7), options.streams, count]
                said = json.loads(output(command, count * EVERY_MS // 1000 + 300))
                if not said["counted"]:
                    raise RuntimeError(f"{name}: no events; {said}")
                lost[name] = lost.get(name, 0) + said["lost"]
                return said["p50_us"]
            return run

        got = turns.in_turn({name: fire(name) for name in fleet}, options.repeats, "event delay p50, us")
    direct = median(got["direct"])
    mine, nginx = ([value - direct for value in got[name]] for name in ("scopeshim", "nginx"))
    times, shown = ratio(mine, nginx)
    yield Row(f"SSE: event delay added, p50, {options.streams:,} streams, an event every {EVERY_MS} ms", "≤ 1.1 × nginx",
              f"{median(mine):.0f} µs; nginx {median(nginx):.0f} µs; direct {direct:.0f} µs in all", shown,
              times is not None and times <= 1.1)
    yield Row("SSE: events lost", "0", f"{lost['scopeshim']}; nginx {lost['nginx']}; direct {lost['direct']}", "",
              lost["scopeshim"] == 0)


def memory(options):
    held, back = {"nginx": [], "scopeshim": []}, {"nginx": [], "scopeshim": []}
    for turn in range(options.repeats):
        for name in held:
            with Bench(options) as bench:
                upstream = bench.script("sse_server.py", 0, EVERY_MS)
                one = getattr(bench, name)(upstream)
                each, returned = hold(one, options.idle_streams)
            held[name].append(each)
            back[name].append(returned)
            print(f"  idle streams: {name}, turn {turn + 1}: {each:.1f} KiB each, {returned:.0f} % given back",
                  file=sys.stderr, flush=True)
    _, shown = ratio(held["scopeshim"], held["nginx"])
    mine, nginx = median(held["scopeshim"]), median(held["nginx"])
    yield Row(f"RSS per idle SSE stream at {options.idle_streams:,}", "≤ 45 KiB", f"{mine:.1f} KiB; nginx {nginx:.1f} KiB",
              shown, mine <= 45)
    mine, nginx = median(back["scopeshim"]), median(back["nginx"])
    yield Row("given back within 5 s after they close", "≥ 95 %", f"{mine:.1f} %; nginx {nginx:.1f} %", "", mine >= 95)


def hold(one, streams):
    """KiB for each stream, and how much of it (in %) is back 5 s after they closed."""
    command = [sys.executable, str(CLIENT), str(one.port), policies.token(7), str(streams), "0"]
    before = one.rss()
    with machine.on(machine.LOAD):
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    procs.adopt(client)
    try:
        if client.stdout.readline().strip() != "open":
            raise RuntimeError(f"the streams did not open:\n{one.child.tail()}")
        time.sleep(1)
        during = one.rss()
        client.stdin.write("close\n")
        client.stdin.flush()
        client.wait(60)
        time.sleep(5)
        after = one.rss()
    finally:
        client.kill()
        client.wait(10)
        procs.disown(client)
    return (during - before) / 1024 / streams, 100 * (during - after) / (during - before)
