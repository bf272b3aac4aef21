#!/usr/bin/env python3
"""Prove that scopeshim survives its life: upgrades under load, stops, crashes, full disks, jumping clocks, time."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "e2e"))

import procs
from base import CASES, Context, Miss, Unable
import cases  # noqa: F401  registers itself


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/debug/scopeshim")
    parser.add_argument("--seconds", type=int, default=120, help="of the soak")
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX", help="may be given again")
    options = parser.parse_args()
    binary = Path(options.binary).resolve()
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not there; build it first")
    cache = Path(__file__).resolve().parents[2] / "target" / "life"
    cache.mkdir(parents=True, exist_ok=True)
    procs.end_on_signals()
    ctx = Context(binary, options.seconds, cache)
    passed = failed = skipped = 0
    try:
        for name, act in CASES.items():
            if options.only and not name.startswith(tuple(options.only)):
                continue
            begun, said = time.monotonic(), ""
            try:
                said, mark = act(ctx) or "", "ok"
                passed += 1
            except Unable as why:
                said, mark = str(why), "skip"
                skipped += 1
            except Exception as why:
                said, mark = f"{'' if isinstance(why, Miss) else type(why).__name__ + ': '}{why}", "FAIL"
                failed += 1
                if not isinstance(why, Miss):
                    traceback.print_exc()
            finally:
                ctx.end_case()
            print(f"{mark:5} {name:24} {said} ({time.monotonic() - begun:.1f} s)", flush=True)
    finally:
        ctx.close()
    if os.environ.get("CI"):
        failed, skipped = failed + skipped, 0
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
