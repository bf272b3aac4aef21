#!/usr/bin/env python3
"""Install the packages of dist/ into small systems with systemd, and use, upgrade, remove and purge them there."""

import argparse
import sys
from pathlib import Path

from tests.support import procs
from tests.support import suite
from tests.packages.base import Context
import tests.packages.cases  # noqa: F401  registers itself


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", default="dist", help="folder with the packages")
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX",
                        help="may be given again; cases of one machine build on those before them")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    options = parser.parse_args()
    names = suite.named(options.only)
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
    return suite.run(ctx, names)


if __name__ == "__main__":
    sys.exit(main())
