#!/usr/bin/env python3
"""Request paths: this proxy's reading of them against the code of real gateway releases.

    python3 -m tests.paths.run --gateways "2026.3.28 2026.9.6"
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
from tests.support import install


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", required=True, help="releases, separated by blanks")
    parser.add_argument("--cases", default="3000", help="how many generated paths for each release and property")
    options = parser.parse_args()
    releases = options.gateways.split()
    if not releases:
        sys.exit("no gateway release is named")
    for release in releases:
        try:
            where = install.gateway(release)
            node = install.node_for(where)
        except install.InstallError as err:
            sys.exit(str(err))
        print(f"paths: {release}", flush=True)
        env = dict(
            os.environ,
            SCOPESHIM_PATHS_NODE=str(node),
            SCOPESHIM_PATHS_DIST=str(where / "node_modules/openclaw/dist"),
            PROPTEST_CASES=options.cases,
        )
        command = ["cargo", "test", "--locked", "--test", "it", "--", "--ignored", "paths::", "--nocapture"]
        done = subprocess.run(command, cwd=HERE.parent.parent, env=env)
        if done.returncode != 0:
            return done.returncode
    print(f"{len(releases)} releases agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
