#!/usr/bin/env python3
"""Install the packages of dist/ into small systems with systemd, and use, upgrade, remove and purge them there."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "e2e"))

import procs
from base import CASES, Context, Miss
from tools import Missing
import cases  # noqa: F401  registers itself


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", default="dist", help="folder with the packages")
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX",
                        help="may be given again; cases of one machine build on those before them")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    options = parser.parse_args()
    names = [name for name in CASES if not options.only or name.startswith(tuple(options.only))]
    if options.list:
        print("\n".join(names))
        return 0
    if not names:
        sys.exit(f"no case begins with {options.only}")
    procs.end_on_signals()
    try:
        ctx = Context(Path(options.dist).resolve())
    except FileNotFoundError as why:
        sys.exit(f"{why}; build the packages first")
    passed = failed = skipped = 0
    try:
        for name in names:
            begun = time.monotonic()
            try:
                said, mark = CASES[name](ctx) or "", "ok"
                passed += 1
            except Missing as why:
                said, mark = str(why), "skip"
                skipped += 1
            except Exception as why:
                said, mark = f"{'' if isinstance(why, Miss) else type(why).__name__ + ': '}{why}", "FAIL"
                failed += 1
                if not isinstance(why, Miss):
                    traceback.print_exc()
            print(f"{mark:5} {name:26} {said} ({time.monotonic() - begun:.1f} s)", flush=True)
    finally:
        ctx.close()
    if os.environ.get("CI"):
        failed, skipped = failed + skipped, 0
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
