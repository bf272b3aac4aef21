"""Request bodies: this proxy's reading of them (tests/it/bodies.rs) against JSON.parse of the Node that runs each gateway release."""

import os
import subprocess
from pathlib import Path

from tests.support import install

ROOT = Path(__file__).resolve().parents[2]


def test_bodies_are_read_as_the_gateway_reads_them(pytestconfig, say):
    nodes = {str(install.node_for(install.gateway(release))) for release in pytestconfig.getoption("gateways").split()}
    assert nodes, "no gateway release is named"
    for node in sorted(nodes):
        env = {**os.environ, "SCOPESHIM_BODIES_NODE": node, "PROPTEST_CASES": pytestconfig.getoption("cases")}
        command = ["cargo", "test", "--locked", "--test", "it", "bodies::", "--", "--ignored"]
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, f"{node}: cargo test ended with {done.returncode}:\n{done.stdout[-4000:]}"
        assert "test result: ok. 0 passed" not in done.stdout, f"no test of bodies ran:\n{done.stdout[-2000:]}"
    say(f"the same with {len(nodes)} versions of Node")
