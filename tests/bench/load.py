"""Load by h2load (the same request over and over) and wrk (another token each time)."""

import re
from pathlib import Path

from tests.bench import candidates

CONNECTIONS = 64
HERE = Path(__file__).resolve().parent


def steady(port, token, seconds, rate=None, connections=CONNECTIONS, log=None):
    """Requests over keep-alive connections, as many as go or at a fixed rate. Returns how many were answered."""
    command = ["h2load", "--h1", "-t", "1", "-c", connections, "-H", f"authorization: Bearer {token}"]
    if rate:
        # By count: with a duration h2load counts what is in flight at its end as failed.
        command += ["-n", int(rate * seconds), "--rps", rate / connections]
    else:
        command += ["-D", int(max(1, seconds))]
    if log:
        command += [f"--log-file={log}"]
    said = candidates.output([*command, f"http://127.0.0.1:{port}/v1/models"], seconds * 10 + 30)
    good = _number(said, r"status codes: (\d+) 2xx")
    bad = sum(map(int, re.search(r"2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said).groups()))
    if bad or not good:
        raise RuntimeError(f"the load saw {bad} wrong answers and {good} right ones:\n{said[-600:]}")
    return good


def warm(port, token, count=2000):
    """Requests whose answers do not matter."""
    candidates.output(["h2load", "--h1", "-t", "1", "-c", CONNECTIONS, "-n", count, "-H", f"authorization: Bearer {token}",
                       f"http://127.0.0.1:{port}/v1/models"], 60)


def each_once(port, tokens_file, count):
    """Every token of the file in one request, as fast as it goes. Returns how many were answered."""
    command = ["wrk", "-t", "1", "-c", CONNECTIONS, "-d", "120s", "-s", HERE / "each_once.lua",
               f"http://127.0.0.1:{port}/v1/models", "--", tokens_file, count]
    said = candidates.output(command, 150)
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"the load saw wrong answers:\n{said[-600:]}")
    return _number(said, r"(\d+) requests in")


def latencies(log):
    """The median and the 99th percentile of an h2load log file, in microseconds."""
    times = sorted(int(line.split("\t")[2]) for line in Path(log).read_text().splitlines())
    return float(times[len(times) // 2]), float(times[len(times) * 99 // 100])


def _number(text, pattern):
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"no {pattern!r} in:\n{text[-600:]}")
    return int(found[1])
