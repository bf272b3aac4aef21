"""Request paths: this proxy's reading of them (tests/it/paths.rs) against the code of real gateway releases."""

import os
import subprocess
from pathlib import Path

from tests.support import install

ROOT = Path(__file__).resolve().parents[2]


def test_paths_are_read_as_the_gateway_reads_them(release, pytestconfig, say):
    where = install.gateway(release)
    env = {
        **os.environ,
        "SCOPESHIM_PATHS_NODE": str(install.node_for(where)),
        "SCOPESHIM_PATHS_DIST": str(where / "node_modules/openclaw/dist"),
        "PROPTEST_CASES": pytestconfig.getoption("cases"),
    }
    command = ["cargo", "test", "--locked", "--test", "it", "--", "--ignored", "paths::", "--nocapture"]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"cargo test ended with {done.returncode}:\n{done.stdout[-4000:]}"
    assert "test result: ok. 3 passed" in done.stdout, f"not the three tests of paths:\n{done.stdout[-2000:]}"
    say("3 properties agree")
