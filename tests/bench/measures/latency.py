"""Latency that a proxy adds at a small, fixed rate."""

from tests.bench import load, policies, turns
from tests.bench.candidates import Bench, prove
from tests.bench.report import Row, median, ratio

RATE, CONNECTIONS = 500, 10


def rows(options):
    with Bench(options) as bench:
        upstream = bench.upstream()
        fleet = {"direct": upstream, "nginx": bench.nginx(upstream), "scopeshim": bench.scopeshim(upstream)}
        log = bench.folder() / "requests.log"

        def fire(one):
            def run():
                load.steady(one.port, policies.token(7), 1, RATE, CONNECTIONS)
                log.unlink(missing_ok=True)
                load.steady(one.port, policies.token(7), options.seconds, RATE, CONNECTIONS, log)
                return float(load.median_latency(log))
            return run

        for one in (fleet["nginx"], fleet["scopeshim"]):
            prove(one, policies.token(7))
        got = turns.in_turn({name: fire(one) for name, one in fleet.items()}, options.repeats, "latency p50, us")
    direct = median(got["direct"])
    mine, nginx = ([value - direct for value in got[name]] for name in ("scopeshim", "nginx"))
    times, shown = ratio(mine, nginx)
    yield Row(f"added latency p50 at {RATE} req/s", "≤ 1.1 × nginx",
              f"{median(mine):.0f} µs; nginx {median(nginx):.0f} µs; direct {direct:.0f} µs in all", shown,
              times is not None and times <= 1.1)
