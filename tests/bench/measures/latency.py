"""Latency: what a proxy adds at a small, fixed rate, and the tail while it is saturated."""

from tests.bench import load, policies, turns
from tests.bench.candidates import Bench, prove
from tests.bench.report import Row, median, ratio

RATE, CONNECTIONS = 500, 10


def rows(options):
    with Bench(options) as bench:
        upstream = bench.upstream()
        fleet = {"direct": upstream, "nginx": bench.nginx(upstream), "HAProxy": bench.haproxy(upstream),
                 "scopeshim": bench.scopeshim(upstream)}
        log = bench.folder() / "requests.log"

        def fire(one, rate, connections, which):
            def run():
                load.steady(one.port, policies.token(7), 1, rate, connections)
                log.unlink(missing_ok=True)
                load.steady(one.port, policies.token(7), options.seconds, rate, connections, log)
                return load.latencies(log)[which]
            return run

        for name in ("nginx", "HAProxy", "scopeshim"):
            prove(fleet[name], policies.token(7))
        added = turns.in_turn({name: fire(one, RATE, CONNECTIONS, 0) for name, one in fleet.items()}, options.repeats,
                              "latency p50, us")
        proxies = {name: one for name, one in fleet.items() if name != "direct"}
        tail = turns.in_turn({name: fire(one, None, load.CONNECTIONS, 1) for name, one in proxies.items()}, options.repeats,
                             "latency p99 at saturation, us")
    direct = median(added["direct"])
    mine, nginx = ([value - direct for value in added[name]] for name in ("scopeshim", "nginx"))
    times, shown = ratio(mine, nginx)
    yield Row(f"added latency p50 at {RATE} req/s", "≤ 1.1 × nginx",
              f"{median(mine):.0f} µs; nginx {median(nginx):.0f} µs; direct {direct:.0f} µs in all", shown,
              times is not None and times <= 1.1)
    times, shown = ratio(tail["scopeshim"], tail["nginx"])
    yield Row(f"latency p99 at saturation, {load.CONNECTIONS} connections", "≤ 1.5 × nginx",
              f"{median(tail['scopeshim']):.0f} µs; nginx {median(tail['nginx']):.0f} µs; HAProxy {median(tail['HAProxy']):.0f} µs",
              shown, times is not None and times <= 1.5)
