"""A cold start, and what the process weighs."""

import http.client
import sys
import time

from tests.bench import machine, policies
from tests.bench.candidates import Bench
from tests.bench.report import Row, median

PATIENCE_SECONDS = 20


def rows(options):
    times, weights = [], []
    for _ in range(options.starts):
        with Bench(options) as bench:
            one = bench.scopeshim_spawned(bench.upstream())
            times.append((first_answer(one) - one.begun) * 1000)
            time.sleep(1)
            weights.append(one.rss() / 1e6)
            size = machine.stripped_size(options.binary, bench.root) / 1e6
    print(f"  cold starts, ms: {[round(t, 1) for t in times]}", file=sys.stderr, flush=True)
    yield Row(f"cold start to the first answer, 1,000 tokens, median of {len(times)}", "≤ 15 ms",
              f"{median(times):.1f} ms [{min(times):.1f}..{max(times):.1f}]", "", median(times) <= 15)
    yield Row("idle RSS, 1,000 tokens", "≤ 20 MB", f"{median(weights):.1f} MB", "", median(weights) <= 20)
    yield Row("stripped binary", "≤ 15 MB", f"{size:.1f} MB", "", size <= 15)


def first_answer(one):
    """When the first request was answered with 200, by the monotonic clock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {policies.token(7)}"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return time.monotonic()
        except OSError:
            time.sleep(0.0002)
        finally:
            connection.close()
    raise RuntimeError(f"no answer within {PATIENCE_SECONDS} s:\n{one.child.tail()}")
