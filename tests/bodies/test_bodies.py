"""JSON bodies: this proxy's reading of them (tests/it/bodies.rs) against JSON.parse of each gateway's Node."""

import os
import subprocess
from pathlib import Path

from tests.support import install

ROOT = Path(__file__).resolve().parents[2]


def test_bodies_are_read_as_the_gateway_reads_them(release, pytestconfig, say):
    where = install.gateway(release)
    env = {
        **os.environ,
        "SCOPESHIM_BODIES_NODE": str(install.node_for(where)),
        "PROPTEST_CASES": pytestconfig.getoption("cases"),
    }
    command = ["cargo", "test", "--locked", "--test", "it", "--", "--ignored", "bodies::", "--nocapture"]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"cargo test ended with {done.returncode}:\n{done.stdout[-4000:]}"
    assert "test result: ok. 3 passed" in done.stdout, f"not the three tests of bodies:\n{done.stdout[-2000:]}"
    say("3 properties agree")
