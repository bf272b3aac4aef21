#!/usr/bin/env python3
"""Run scopeshim in a real tailnet, in front of a real gateway, and print what held."""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import http.client

from tests.support import install
from tests.support import procs
from tests.tailnet.cases import CASES, Miss
from tests.tailnet.lab import Lab
from tests.tailnet.nodes import Unavailable, build, isolate, why_no_namespaces

KINDS = ("userspace", "tun")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/debug/scopeshim")
    parser.add_argument("--gateway", default="2026.3.28")
    parser.add_argument("--kinds", default=" ".join(KINDS), help="how tailscaled networks beside the proxy")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX", help="may be given again")
    return parser.parse_args()


def run_case(lab, function):
    started = time.monotonic()
    try:
        status, said = "ok", function(lab)
    except (Miss, procs.Timeout, OSError, AssertionError, http.client.HTTPException) as why:
        status, said = "FAIL", f"{type(why).__name__}: {why}"
    except Exception as why:
        status, said = "FAIL", f"{type(why).__name__}: {why}"
        traceback.print_exc()
    return status, " ".join(str(said).split()), time.monotonic() - started


def run_kind(kind, options, names):
    """All cases in a tailnet of their own. Gives each case's status."""
    print(f"\n=== {kind}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="scopeshim-tailnet-"))
    rows, lab = {}, None
    try:
        lab = Lab(kind, options.gateway, Path(options.binary).resolve(), folder)
        for name, function, only in CASES:
            if name not in names:
                continue
            if only not in (None, kind):
                rows[name] = "n/a"
                continue
            status, said, seconds = run_case(lab, function)
            rows[name] = status
            print(f"{status:5} {name:30} {said} ({seconds:.1f} s)", flush=True)
            if status == "FAIL":
                print("\n".join(f"      | {line[:400]}" for line in lab.log().splitlines()[-12:]), flush=True)
    finally:
        if lab:
            lab.close()
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def main():
    options = arguments()
    names = [n for n, _, _ in CASES if not options.only or n.startswith(tuple(options.only))]
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"{options.binary} is not there; build it first")
    procs.end_on_signals()
    columns, skipped = {}, []
    try:
        build()
        install.releases([options.gateway])
    except (Unavailable, install.InstallError) as why:
        skipped.append(f"everything: {why}")
        options.kinds = ""
    if "tun" in options.kinds.split():
        if why := why_no_namespaces():
            skipped.append(f"tun: {why}")
            options.kinds = options.kinds.replace("tun", "")
        elif not options.isolated:
            # In a namespace of its own no firewall of this machine stands between the nodes, and nothing gets out.
            os.environ[install.OFFLINE] = "1"
            os.execvp("unshare", ["unshare", "--net", sys.executable, "-m", "tests.tailnet.run", *sys.argv[1:], "--isolated"])
        else:
            isolate()
    for kind in options.kinds.split():
        try:
            columns[kind] = run_kind(kind, options, names)
        except Unavailable as why:
            skipped.append(f"{kind}: {why}")
        except Exception as why:
            traceback.print_exc()
            columns[kind] = {"the tailnet itself": "FAIL"}
            print(f"FAIL  {kind}: {why}", flush=True)

    print(f"\n{'':32}" + "".join(kind.ljust(11) for kind in columns))
    for name in [*names, "the tailnet itself"]:
        if any(name in rows for rows in columns.values()):
            print(f"{name:32}" + "".join(rows.get(name, "-").ljust(11) for rows in columns.values()))
    for why in skipped:
        print(f"skipped: {why}")
    statuses = [status for rows in columns.values() for status in rows.values()]
    passed, failed = statuses.count("ok"), statuses.count("FAIL")
    if os.environ.get("CI"):
        failed += len(skipped)
    print(f"{passed} passed, {failed} failed" + (f", {len(skipped)} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
