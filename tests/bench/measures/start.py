"""A cold start, and what the process weighs: with 1,000 tokens and with 100,000."""

import http.client
import sys
import time

from tests.bench import machine, policies
from tests.bench.candidates import Bench
from tests.bench.report import Row, median, ratio

PATIENCE_SECONDS = 20
MANY = 100_000


def rows(options):
    few, size = begun(options, 1000, options.starts)
    mine, nginx = few["scopeshim"], few["nginx"]
    _, shown = ratio(mine["ms"], nginx["ms"])
    yield Row(f"cold start to the first answer, 1,000 tokens, median of {options.starts}", "≤ 15 ms",
              f"{median(mine['ms']):.1f} ms [{min(mine['ms']):.1f}..{max(mine['ms']):.1f}]; nginx {median(nginx['ms']):.1f} ms",
              shown, median(mine["ms"]) <= 15)
    _, shown = ratio(mine["mb"], nginx["mb"])
    yield Row("idle RSS, 1,000 tokens", "≤ 20 MB", f"{median(mine['mb']):.1f} MB; nginx {median(nginx['mb']):.1f} MB", shown,
              median(mine["mb"]) <= 20)
    many, _ = begun(options, MANY, min(options.starts, 5))
    mine, nginx = many["scopeshim"], many["nginx"]
    _, shown = ratio(mine["ms"], nginx["ms"])
    yield Row(f"cold start, {MANY:,} tokens", "≤ 150 ms", f"{median(mine['ms']):.0f} ms; nginx {median(nginx['ms']):.0f} ms", shown,
              median(mine["ms"]) <= 150)
    _, shown = ratio(mine["mb"], nginx["mb"])
    yield Row(f"idle RSS, {MANY:,} tokens", "≤ 60 MB", f"{median(mine['mb']):.0f} MB; nginx {median(nginx['mb']):.0f} MB", shown,
              median(mine["mb"]) <= 60)
    yield Row("stripped binary", "", f"{size:.1f} MB", "")


def begun(options, tokens, times):
    """Milliseconds and megabytes of each start, and the size of our program."""
    got = {name: {"ms": [], "mb": []} for name in ("nginx", "scopeshim")}
    for _ in range(times):
        for name, seen in got.items():
            with Bench(options) as bench:
                one = getattr(bench, f"{name}_spawned")(bench.upstream(), tokens=tokens)
                seen["ms"].append((first_answer(one) - one.begun) * 1000)
                time.sleep(1)
                seen["mb"].append(one.rss() / 1e6)
                size = machine.stripped_size(options.binary, bench.root) / 1e6
    print(f"  cold starts, {tokens:,} tokens: {got}", file=sys.stderr, flush=True)
    return got, size


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
