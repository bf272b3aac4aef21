#!/usr/bin/env python3
"""Request bodies: this proxy's reading of them against JSON.parse of the Node that runs each gateway release.

    tests/bodies/run.py --gateways "2026.3.28 2026.9.6"
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import install  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", required=True, help="releases, separated by blanks")
    parser.add_argument("--cases", default="20000", help="how many generated bodies for each Node")
    options = parser.parse_args()
    try:
        nodes = {str(install.node_for(install.gateway(release))) for release in options.gateways.split()}
    except install.InstallError as err:
        sys.exit(str(err))
    if not nodes:
        sys.exit("no gateway release is named")
    for node in sorted(nodes):
        print(f"=== {node}", flush=True)
        env = {**os.environ, "SCOPESHIM_BODIES_NODE": node, "PROPTEST_CASES": options.cases}
        command = ["cargo", "test", "--locked", "--test", "it", "bodies::", "--", "--ignored"]
        if subprocess.run(command, cwd=HERE.parent.parent, env=env, check=False).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
