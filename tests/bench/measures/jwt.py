"""CPU of a request with a JWT: one that repeats, and one never seen before."""

from tests.bench import jwts, load, policies, turns
from tests.bench.candidates import Bench, prove
from tests.bench.report import Row, median, ratio

RATE = 2000
PEERS = ["RS256", "ES256", "HS256"]


def rows(options):
    with Bench(options) as bench:
        upstream = bench.upstream()
        keys = jwts.Keys(bench.folder(), options.jwts)
        cached = bench.scopeshim(upstream, extra=policies.issuers(keys, 4096))
        anew = bench.scopeshim(upstream, extra=policies.issuers(keys, 0))
        peers = {name: bench.haproxy_jwt(upstream, name, keys) for name in PEERS}
        others = {"Envoy": bench.envoy(upstream, keys), "oauth2-proxy": bench.oauth2_proxy(upstream, keys)}
        for name in jwts.ALGORITHMS:
            for one in filter(None, (cached, anew, peers.get(name))):
                prove(one, keys.one(name))
        for rate, title in ((RATE, f"{RATE:,} req/s"), (None, "saturation")):
            yield from repeating(options, keys, cached, anew, peers, rate, title)
        yield from beside(options, keys, cached, others)
    yield from first_sight(options, keys)


def repeating(options, keys, cached, anew, peers, rate, title):
    todo = {}
    for name in jwts.ALGORITHMS:
        for kind, one in (("HAProxy", peers.get(name)), ("cached", cached), ("anew", anew)):
            if one:
                todo[f"{kind} {name}"] = turns.steady(one, keys.one(name), options.seconds, rate)
    got = turns.in_turn(todo, options.repeats, f"JWT that repeats, CPU us/request at {title}")
    for name in jwts.ALGORITHMS:
        mine = got[f"cached {name}"]
        rs, rs_shown = ratio(mine, got["HAProxy RS256"])
        es, es_shown = ratio(mine, got["HAProxy ES256"])
        own = f"; HAProxy {name} {median(got[f'HAProxy {name}']):.1f} µs" if name in peers else ""
        yield Row(f"CPU per request, JWT that repeats, {name}, {title}", "≤ 0.9 × HAProxy RS256, ≤ 0.45 × HAProxy ES256",
                  f"{median(mine):.1f} µs{own}; without our cache {median(got[f'anew {name}']):.1f} µs",
                  f"RS256 {rs_shown}, ES256 {es_shown}", rs <= 0.9 and es <= 0.45)


def beside(options, keys, cached, others):
    """Proxies that are slower by far: saturation alone, and the algorithm that all of them know."""
    fleet = {"scopeshim": cached, **others}
    got = turns.in_turn({name: turns.steady(one, keys.one("RS256"), options.seconds) for name, one in fleet.items()},
                        options.repeats, "JWT that repeats, RS256, CPU us/request at saturation")
    for name in others:
        _, shown = ratio(got["scopeshim"], got[name])
        yield Row(f"the same beside {name}, RS256, saturation", "", f"{name} {median(got[name]):.1f} µs", shown)


def first_sight(options, keys):
    """Each token once, with the cache on; scopeshim is a new process each time, so it never saw any."""
    def fire(start):
        with Bench(options) as bench:
            one = start(bench, bench.upstream())
            # Connections and code are warmed up by requests with a named token, or none at all.
            load.warm(one.port, policies.token(7))
            return turns.cpu_per_request(one, lambda: load.each_once(one.port, keys.files[name], keys.many))

    for name in jwts.ALGORITHMS:
        todo = {"scopeshim": lambda: fire(lambda b, up: b.scopeshim(up, extra=policies.issuers(keys, 4096)))}
        if name in PEERS:
            todo["HAProxy"] = lambda: fire(lambda b, up: b.haproxy_jwt(up, name, keys))
        got = turns.in_turn(todo, options.repeats, f"JWT at first sight, CPU us/request, {name}")
        mine, peer = got["scopeshim"], got.get("HAProxy")
        work, said = f"CPU per request, first sight of a JWT, {name}", f"{median(mine):.1f} µs"
        if not peer:
            yield Row(work, "", f"{said}; HAProxy does not verify {name}")
            continue
        times, shown = ratio(mine, peer)
        yield Row(work, "≤ 1.3 × HAProxy", f"{said}; HAProxy {median(peer):.1f} µs", shown, times <= 1.3)
