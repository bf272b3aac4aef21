"""What the edge does by itself: paths, framing, health, many at once."""

import threading

import pytest

from tests.e2e.environment import case
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


@case("path.{name}")
@pytest.mark.parametrize("name", TARGETS)
def test_a_path_that_two_readers_read_differently(env, row, name):
    target = TARGETS[name]
    extra = [("x-openclaw-scopes", "operator.read")]
    _, through = row.both(env, lambda side: raw_get(side.url, target, side.owner + extra))
    assert through.status == 400, f"expected 400, got {through.brief()}"
    url, upstream = env.mirror
    seen = len(upstream.asked)
    raw_get(url, target, env.through.owner)
    assert len(upstream.asked) == seen, "it was forwarded"


FRAMINGS = {
    "length-and-chunked": "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
}


@case("framing.{name}")
@pytest.mark.parametrize("name", FRAMINGS)
def test_ambiguous_framing(env, row, name):
    def message(side):
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{key}: {value}" for key, value in side.owner]
        return ("\r\n".join(lines) + "\r\n" + FRAMINGS[name]).encode()

    bare = raw(env.bare.url, message(env.bare))
    row.bare = bare.brief()
    url, upstream = env.mirror
    seen = len(upstream.asked)
    through = raw(url, message(env.through))
    row.through = through.brief()
    assert through.status == 400, f"expected 400, got {through.brief()}"
    assert len(upstream.asked) == seen, "it was forwarded"


@case("health.{name}")
@pytest.mark.parametrize(("name", "path"), [("live", "/healthz"), ("ready", "/readyz")])
def test_health(env, row, name, path):
    _, through = row.both(
        env, lambda side: request("GET", side.url + path), show=lambda answer: f"{answer.status} {_keys(answer)}")
    assert through.status == 200, f"got {through.brief()}"
    value = through.json()
    assert isinstance(value, dict), f"not JSON: {through.body[:100]!r}"
    assert set(value) <= {"ok", "status", "ready"}, f"tells more than it should: {sorted(value)}"


def _keys(answer):
    value = answer.json()
    return ",".join(value) if isinstance(value, dict) else "no JSON"


@case("parallel.fifty")
def test_fifty_at_once(env, row):
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

    _, through = row.both(env, act, show)
    assert through == [200] * 50, show(through)
