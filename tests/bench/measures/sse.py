"""Event streams: the delay a proxy adds, CPU for each event, events lost; idle streams: CPU, memory held and given back."""

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
IDLE_SECONDS = 5


def rows(options):
    # As many events a second from many streams as from few.
    yield from delays(options, options.streams, EVERY_MS * options.streams // 500)
    yield from delays(options, options.idle_streams, EVERY_MS * options.idle_streams // 500)
    yield from idle(options)


def delays(options, streams, every_ms):
    # The first events come while streams are still being opened.
    count = (options.seconds + 3 + streams // 1000) * 1000 // every_ms
    lost, spent = {}, {}
    with Bench(options) as bench:
        upstream = bench.script("sse_server.py", count, every_ms)
        fleet = {"direct": upstream, "nginx": bench.nginx(upstream), "HAProxy": bench.haproxy(upstream, connections=30_000),
                 "scopeshim": bench.scopeshim(upstream)}

        def fire(name):
            def run():
                command = [sys.executable, CLIENT, fleet[name].port, policies.token(7), streams, count]
                before = fleet[name].cpu_seconds()
                said = json.loads(output(command, count * every_ms // 1000 + 300))
                spent.setdefault(name, []).append((fleet[name].cpu_seconds() - before) * 1e6 / (streams * count))
                if not said["counted"]:
                    raise RuntimeError(f"{name}: no events; {said}")
                lost[name] = lost.get(name, 0) + said["lost"]
                return said["p50_us"], said["p99_us"]
            return run

        got = turns.in_turn({name: fire(name) for name in fleet}, options.repeats, "event delay p50 and p99, us")
    title = f"SSE, {streams:,} streams, {streams * 1000 // every_ms:,} events/s"
    for which, (quantile, least) in enumerate((("p50", 1.1), ("p99", 1.5))):
        direct = median([one[which] for one in got["direct"]])
        mine, nginx, haproxy = ([one[which] - direct for one in got[name]] for name in ("scopeshim", "nginx", "HAProxy"))
        times, shown = ratio(mine, nginx)
        yield Row(f"{title}: delay added, {quantile}", f"≤ {least} × nginx",
                  f"{median(mine):.0f} µs; nginx {median(nginx):.0f} µs; HAProxy {median(haproxy):.0f} µs; direct {direct:.0f} µs in all",
                  shown, times is not None and times <= least)
    times, shown = ratio(spent["scopeshim"], spent["nginx"])
    yield Row(f"{title}: CPU per event", "≤ 1.15 × nginx",
              f"{median(spent['scopeshim']):.1f} µs; nginx {median(spent['nginx']):.1f} µs; HAProxy {median(spent['HAProxy']):.1f} µs",
              shown, times is not None and times <= 1.15)
    yield Row(f"{title}: events lost", "0", f"{lost['scopeshim']}; nginx {lost['nginx']}; direct {lost['direct']}", "",
              lost["scopeshim"] == 0)


def idle(options):
    names = ("nginx", "HAProxy", "scopeshim")
    held, back, spent = ({name: [] for name in names} for _ in range(3))
    for turn in range(options.repeats):
        for name in held:
            with Bench(options) as bench:
                upstream = bench.script("sse_server.py", 0, EVERY_MS)
                more = {"connections": 30_000} if name == "HAProxy" else {}
                one = getattr(bench, name.lower())(upstream, **more)
                each, returned, busy = hold(one, options.idle_streams)
            held[name].append(each)
            back[name].append(returned)
            spent[name].append(busy)
            print(f"  idle streams: {name}, turn {turn + 1}: {each:.1f} KiB each, {returned:.0f} % given back, {busy:.1f} ms CPU/s",
                  file=sys.stderr, flush=True)
    yield Row(f"CPU of {options.idle_streams:,} idle streams, ms each second", "none that grows with streams",
              f"{median(spent['scopeshim']):.1f}; nginx {median(spent['nginx']):.1f}; HAProxy {median(spent['HAProxy']):.1f}", "")
    _, shown = ratio(held["scopeshim"], held["nginx"])
    mine, nginx = median(held["scopeshim"]), median(held["nginx"])
    yield Row(f"RSS per idle SSE stream at {options.idle_streams:,}", "≤ 45 KiB", f"{mine:.1f} KiB; nginx {nginx:.1f} KiB",
              shown, mine <= 45)
    mine, nginx = median(back["scopeshim"]), median(back["nginx"])
    yield Row("given back within 5 s after they close", "≥ 95 %", f"{mine:.1f} %; nginx {nginx:.1f} %", "", mine >= 95)


def hold(one, streams):
    """KiB for each stream, how much of it (in %) is back 5 s after they closed, and milliseconds of CPU a second meanwhile."""
    command = [sys.executable, str(CLIENT), str(one.port), policies.token(7), str(streams), "0"]
    before = one.rss()
    with machine.on(machine.LOAD):
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    procs.adopt(client)
    try:
        if client.stdout.readline().strip() != "open":
            raise RuntimeError(f"the streams did not open:\n{one.child.tail()}")
        time.sleep(1)
        during, before_idle = one.rss(), one.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        busy = (one.cpu_seconds() - before_idle) * 1000 / IDLE_SECONDS
        client.stdin.write("close\n")
        client.stdin.flush()
        client.wait(60)
        time.sleep(5)
        after = one.rss()
    finally:
        client.kill()
        client.wait(10)
        procs.disown(client)
    return (during - before) / 1024 / streams, 100 * (during - after) / (during - before), busy
