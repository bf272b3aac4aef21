#!/usr/bin/env python3
"""Prove that scopeshim survives its life: upgrades under load, stops, crashes, full disks, jumping clocks, time."""

import argparse
import os
import sys
from pathlib import Path

from tests.support import procs
from tests.support import suite
from tests.life.base import Context
import tests.life.cases  # noqa: F401  registers itself


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/debug/scopeshim")
    parser.add_argument("--seconds", type=int, default=120, help="of the soak")
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX", help="may be given again")
    options = parser.parse_args()
    binary = Path(options.binary).resolve()
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not there; build it first")
    procs.end_on_signals()
    ctx = Context(binary, options.seconds)
    return suite.run(ctx, suite.named(options.only), after=ctx.end_case)


if __name__ == "__main__":
    sys.exit(main())
