"""CPU of a proxied request: one of many named tokens, keep-alive, about 1 KB of JSON."""

from tests.bench import policies, turns
from tests.bench.candidates import Bench, prove
from tests.bench.report import Row, median, ratio

RATE = 5000


def rows(options):
    with Bench(options) as bench:
        upstream = bench.upstream()
        fleet = {
            "nginx": bench.nginx(upstream),
            "scopeshim": bench.scopeshim(upstream),
            "HAProxy": bench.haproxy(upstream),
            "Envoy": bench.envoy(upstream),
            "Caddy": bench.caddy(upstream),
            "nginx twin": bench.nginx(upstream),
            "scopeshim, 10 tokens": bench.scopeshim(upstream, tokens=10),
            "scopeshim, 100,000 tokens": bench.scopeshim(upstream, tokens=100_000),
            "nginx, access log": bench.nginx(upstream, log=True),
            "scopeshim, access log": bench.scopeshim(upstream, level="info"),
        }
        for one in fleet.values():
            prove(one, policies.token(7))
        for rate, title, least in ((RATE, f"{RATE:,} req/s", 1.25), (None, "saturation", 2.2)):
            todo = {name: turns.steady(one, policies.token(7), options.seconds, rate) for name, one in fleet.items()}
            got = turns.in_turn(todo, options.repeats, f"CPU us/request at {title}")
            yield from table(got, title, least)


def table(got, title, least):
    mine, nginx = got["scopeshim"], got["nginx"]
    times, shown = ratio(mine, nginx)
    _, twin = ratio(got["nginx twin"], nginx)
    yield Row(f"CPU per request, one of 1,000 tokens, {title}", f"≤ {least} × nginx",
              f"{median(mine):.1f} µs; nginx {median(nginx):.1f} µs", f"{shown}; nginx to its twin {twin}", times <= least)
    for peer in ("HAProxy", "Envoy", "Caddy"):
        _, shown = ratio(mine, got[peer])
        yield Row(f"the same beside {peer}, {title}", "", f"{peer} {median(got[peer]):.1f} µs", shown)
    few, many = got["scopeshim, 10 tokens"], got["scopeshim, 100,000 tokens"]
    times, shown = ratio(many, few)
    yield Row(f"from 10 to 100,000 tokens, {title}", "grows ≤ 5 %",
              f"{median(few):.1f} → {median(mine):.1f} (1,000) → {median(many):.1f} µs", shown, times <= 1.05)
    plain = mine
    mine, nginx = got["scopeshim, access log"], got["nginx, access log"]
    _, shown = ratio(mine, nginx)
    times, own = ratio(mine, plain)
    yield Row(f"the default log level, of the same without, {title}", "≤ 1.15 ×", f"{median(plain):.1f} → {median(mine):.1f} µs",
              own, times <= 1.15)
    yield Row(f"with one line a request to a file (level info), {title}", "",
              f"{median(mine):.1f} µs; nginx with access_log {median(nginx):.1f} µs", f"{shown} × nginx alike")
