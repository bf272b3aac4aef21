"""What the edge does by itself: paths, framing, health, many at once."""

import threading

from tests.e2e.base import case
from tests.support.clients import raw, raw_get, request

# Each of these is /v1/models to a gateway and something else to a reader of paths.
TARGETS = {
    "double-slash": "//evil/v1/models",
    "absolute-form": "http://evil/v1/models",
    "dot-segment": "/v1/./models",
    "dot-dot": "/x/../v1/models",
    "encoded-dot-dot": "/%2e%2e/v1/models",
    "inner-encoded-dot-dot": "/x/%2e%2e/v1/models",
    "backslash": "/v1\\models",
    "fragment": "/v1/models#f",
    "capability-prefix": "/__openclaw__/cap/x/v1/models",
    "double-space": " /v1/models",
}


def _add(name, target):
    @case(f"path.{name}")
    def run(ctx, row):
        extra = [("x-openclaw-scopes", "operator.read")]
        _, through = row.both(ctx, lambda side: raw_get(side.url, target, side.owner + extra))
        row.need(through.status == 400, f"expected 400, got {through.brief()}")
        url, upstream = ctx.mirror
        seen = len(upstream.asked)
        raw_get(url, target, ctx.through.owner)
        row.need(len(upstream.asked) == seen, "it was forwarded")


for _name, _target in TARGETS.items():
    _add(_name, _target)


FRAMINGS = {
    "length-and-chunked": "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
}


def _add_framing(name, rest):
    @case(f"framing.{name}")
    def run(ctx, row):
        def message(side):
            lines = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
            lines += [f"{key}: {value}" for key, value in side.owner]
            return ("\r\n".join(lines) + "\r\n" + rest).encode()

        bare = raw(ctx.bare.url, message(ctx.bare))
        row.bare = bare.brief()
        url, upstream = ctx.mirror
        seen = len(upstream.asked)
        through = raw(url, message(ctx.through))
        row.through = through.brief()
        row.need(through.status == 400, f"expected 400, got {through.brief()}")
        row.need(len(upstream.asked) == seen, "it was forwarded")


for _name, _rest in FRAMINGS.items():
    _add_framing(_name, _rest)


def _health(name, path):
    @case(f"health.{name}")
    def run(ctx, row):
        _, through = row.both(
            ctx, lambda side: request("GET", side.url + path), show=lambda answer: f"{answer.status} {_keys(answer)}")
        row.need(through.status == 200, f"got {through.brief()}")
        value = through.json()
        row.need(isinstance(value, dict), f"not JSON: {through.body[:100]!r}")
        row.need(set(value) <= {"ok", "status", "ready"}, f"tells more than it should: {sorted(value)}")


def _keys(answer):
    value = answer.json()
    return ",".join(value) if isinstance(value, dict) else "no JSON"


_health("live", "/healthz")
_health("ready", "/readyz")


@case("parallel.fifty")
def fifty_at_once(ctx, row):
    def act(side):
        statuses = []

        def one():
            try:
                statuses.append(side.models(("x-openclaw-scopes", "operator.read")).status)
            except OSError as err:
                statuses.append(type(err).__name__)

        threads = [threading.Thread(target=one) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return statuses

    def show(statuses):
        return ", ".join(f"{statuses.count(found)} x {found}" for found in sorted(set(statuses), key=str))

    _, through = row.both(ctx, act, show)
    row.need(through == [200] * 50, show(through))
