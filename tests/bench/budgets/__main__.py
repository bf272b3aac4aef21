"""Counts the instructions of a request, an event and a reload, and compares them with what is allowed.

usage: python3 -m tests.bench.budgets --binary target/profiling/scopeshim [--only token,reload] [--bless] [--repeat N]

Start-up is not counted: the process is warm when counting begins. Fails if one of them takes more than 3 % above its
budget, and names the functions that grew. With --bless the budgets become what was counted.
"""

import argparse
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import jwts, policies
from tests.bench.budgets import budget
from tests.bench.budgets.callgrind import START_SECONDS, Callgrind
from tests.bench.budgets.gateway import Gateway
from tests.bench.budgets.loads import Loads
from tests.support import procs

# How often before counting, and how often in each of the windows that are counted.
CASES = {"token": (100, 300), "jwt_seen": (50, 300), "jwt_hs256": (30, 100), "jwt_rs256": (30, 100), "sse_event": (50, 300),
         "reload": (3, 4)}
TOKENS = 1000
# What is still under way when the last answer is there: the log's writer, the connection's return to its pool.
SETTLE_SECONDS = 0.3


def asked():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=Path("target/profiling/scopeshim"))
    parser.add_argument("--only", default=",".join(CASES), help="some of: " + ", ".join(CASES))
    parser.add_argument("--repeat", type=int, default=3, help="windows of each; the least is taken (3)")
    parser.add_argument("--bless", action="store_true", help="take what was counted as the budgets")
    parser.add_argument("--top", type=int, default=0, help="show this many functions of each")
    options = parser.parse_args()
    options.only, options.binary = options.only.split(","), options.binary.resolve()
    if unknown := set(options.only) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    for name in ("valgrind", "vgdb"):
        if not shutil.which(name):
            parser.error(f"{name} is missing: tests/setup.sh budgets")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"{options.binary} is not there: make budgets")
    return options


def count(options, folder):
    """For each case, its windows: instructions of one time, by function."""
    gateway, port = Gateway(), procs.free_port()
    windows = sum(CASES["jwt_rs256"]) + CASES["jwt_rs256"][1] * options.repeat
    keys = jwts.Keys(folder, windows)
    config = folder / "config.toml"
    # Everything as a service has it: the default level, a line for each request into a file.
    config.write_text(policies.scopeshim(folder, port, gateway.port, tokens=TOKENS, level="info",
                                         extra=policies.issuers(keys, 4096)))
    config.chmod(0o600)
    counter = Callgrind([options.binary, "run", "--config", config], folder, {"MIMALLOC_PURGE_DELAY": "0"})
    procs.until(lambda: listens(counter.child, port), START_SECONDS, "scopeshim listens under callgrind")
    loads = Loads(port, gateway, keys, [options.binary, "reload", "--config", config])
    counted = {}
    for name in options.only:
        load, (warm, times) = getattr(loads, name), CASES[name]
        load(warm)
        time.sleep(SETTLE_SECONDS)
        counter.take()
        counted[name] = []
        for _ in range(options.repeat):
            load(times)
            time.sleep(SETTLE_SECONDS)
            counted[name].append({function: spent / times for function, spent in counter.take().items()})
    counter.stop()
    return counted


def listens(child, port):
    if not child.alive():
        raise RuntimeError(f"scopeshim ended:\n{child.tail()}")
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def main():
    options = asked()
    procs.end_on_signals()
    folder = Path(tempfile.mkdtemp(prefix="scopeshim-budgets-"))
    try:
        counted = count(options, folder)
    finally:
        procs.kill_all()
        shutil.rmtree(folder, ignore_errors=True)
    for name, windows in counted.items():
        for function, spent in sorted(budget.least(windows).items(), key=lambda f: -f[1])[:options.top]:
            print(f"  {name}: {spent:12,.0f}  {function[:150]}")
    if options.bless:
        budget.bless(counted)
    return budget.judge(counted)


if __name__ == "__main__":
    sys.exit(main())
