"""Property tests of tests/it that ask a real gateway release's own code or Node, once for each release."""

import os
import subprocess
from pathlib import Path

from tests.support import install

ROOT = Path(__file__).resolve().parents[2]


def options(parser, cases):
    parser.addoption("--gateways", default="2026.3.28 2026.6.11 2026.9.6", help="releases, separated by blanks (%(default)s)")
    parser.addoption("--cases", default=cases, help="how many generated cases for each release and property (%(default)s)")


def pytest_generate_tests(metafunc):
    if "release" in metafunc.fixturenames:
        metafunc.parametrize("release", metafunc.config.getoption("gateways").split())


def run(module, release, cases):
    """The ignored tests of a module of tests/it; what they ask is in SCOPESHIM_NODE and SCOPESHIM_DIST."""
    where = install.gateway(release)
    env = {
        **os.environ,
        "SCOPESHIM_NODE": str(install.node_for(where)),
        "SCOPESHIM_DIST": str(where / "node_modules/openclaw/dist"),
        "PROPTEST_CASES": cases,
    }
    command = ["cargo", "test", "--locked", "--test", "it", "--", "--ignored", f"{module}::", "--nocapture"]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"cargo test ended with {done.returncode}:\n{done.stdout[-4000:]}"
    assert "test result: ok. 3 passed" in done.stdout, f"not the three tests of {module}:\n{done.stdout[-2000:]}"
