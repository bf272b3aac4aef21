"""Measures scopeshim beside nginx, HAProxy, Envoy, Caddy and oauth2-proxy, and writes a page. It judges nothing.

usage: python3 -m tests.bench.run --binary target/release/scopeshim [--short | --quick] [--only cpu,jwt,…] [--repeats N] [--out FILE]
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ["PATH"] += ":/usr/sbin:/sbin"

from tests.bench import machine, report
from tests.support import install, procs

MEASURES = ["start", "cpu", "jwt", "latency", "sse", "websocket", "reload", "bodies", "stalls"]
FULL = {"repeats": 5, "seconds": 5, "streams": 1000, "idle_streams": 5000, "jwts": 20_000, "starts": 10, "bodies": 20}
SHORT = {"repeats": 2, "seconds": 2, "streams": 1000, "idle_streams": 1000, "jwts": 3000, "starts": 5, "bodies": 5}
QUICK = {"repeats": 1, "seconds": 1, "streams": 50, "idle_streams": 200, "jwts": 500, "starts": 3, "bodies": 3}


def asked():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=Path("target/release/scopeshim"))
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--only", default=",".join(MEASURES), help="some of: " + ", ".join(MEASURES))
    parser.add_argument("--short", action="store_true", help="fewer and shorter turns: about a quarter of an hour")
    parser.add_argument("--quick", action="store_true", help="small counts, to see that it runs; its figures mean nothing")
    for name, value in FULL.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, help=f"{value} (short: {SHORT[name]}, quick: {QUICK[name]})")
    options = parser.parse_args()
    for name, value in (QUICK if options.quick else SHORT if options.short else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.only = options.only.split(",")
    options.binary = options.binary.resolve()
    if unknown := set(options.only) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"{options.binary} is not there: cargo build --release")
    if missing := [name for name in ("nginx", "haproxy", "h2load", "wrk") if not shutil.which(name)]:
        parser.error(f"missing: {', '.join(missing)}; tests/setup.sh bench")
    return options


def facts(options):
    ours = machine.version([options.binary, "--version"], r"(scopeshim.*)")
    others = [("nginx", ["nginx", "-v"], r"nginx/(\S+)"), ("HAProxy", ["haproxy", "-v"], r"version (\S+)"),
              ("Envoy", [install.envoy(), "--version"], r"/(\d+\.\d+\.\d+)/"), ("h2load", ["h2load", "--version"], r"nghttp2/(\S+)")]
    built = [f"{name} {install.PEERS[name].removeprefix('v')}" for name in ("caddy", "oauth2-proxy")]
    versions = [f"{name} {machine.version(command, pattern)}" for name, command, pattern in others]
    counts = ", ".join(f"{name.replace('_', ' ')} {getattr(options, name):,}" for name in FULL)
    how = " --short" if options.short else ""
    return [f"made by `python3 -m tests.bench.run{how}`, which `make bench` runs", machine.describe(), "; ".join([ours, *versions, *built]),
            "one worker thread or process each; scopeshim at log level error but where said; MIMALLOC_PURGE_DELAY=0",
            f"in turn A B A B, medians, [least..greatest of the turns]: {counts}"
            + ("; **a quick run: the figures mean nothing**" if options.quick else "")]


def main():
    options = asked()
    procs.end_on_signals()
    descriptors = machine.settle()
    # A stream is two descriptors in a proxy.
    options.idle_streams = min(options.idle_streams, (descriptors - 500) // 2)
    options.folder = tempfile.mkdtemp(prefix="scopeshim-bench-")
    # nginx started by root has workers that are nobody.
    os.chmod(options.folder, 0o711)
    begun, table, broken = time.monotonic(), [], False
    said = facts(options)
    try:
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                for row in importlib.import_module(f"tests.bench.measures.{name}").rows(options):
                    table.append(row)
            except Exception as error:
                traceback.print_exc()
                table.append(report.failed(name, error))
                broken = True
    finally:
        procs.kill_all()
        shutil.rmtree(options.folder, ignore_errors=True)
    said.append(f"took {time.monotonic() - begun:.0f} s")
    text = report.markdown(said, table)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    print(text)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
