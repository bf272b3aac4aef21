#!/usr/bin/env python3
"""Prove that what scopeshim says of itself is true, well-formed, complete, cheap, bounded and free of secrets."""

import argparse
import os
import sys
from pathlib import Path

from tests.support import procs
from tests.support import suite
from tests.observe.base import Context
import tests.observe.cases  # noqa: F401  registers itself


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/debug/scopeshim")
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX", help="may be given again")
    parser.add_argument("--many", type=int, default=20_000, help="different paths and tokens for the case about series")
    parser.add_argument("--shots", metavar="FOLDER", help="leave the page's screenshots there")
    options = parser.parse_args()
    binary = Path(options.binary).resolve()
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not there; build it first")
    shots = Path(options.shots).resolve() if options.shots else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    procs.end_on_signals()
    ctx = Context(binary, options.many, shots)
    return suite.run(ctx, suite.named(options.only))


if __name__ == "__main__":
    sys.exit(main())
