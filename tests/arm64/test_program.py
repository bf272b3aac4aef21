"""The program for arm64, run by qemu where this machine has another processor."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a request, a stream and a socket go through. Left out are the modules that measure times, memory and descriptors, which
# are the emulator's, those that need a gateway's code, and those that never start the program.
SUBJECTS = ("scopes", "credentials", "headers", "framing", "routes", "answers", "grants", "isolation", "app_users", "tokens",
            "trusted_proxy", "websocket", "jwt", "revocation", "access_log", "cors", "explain")


def test_it_says_its_version(program, say):
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert re.fullmatch(r"scopeshim \d+\.\d+\.\d+\S*\n", done.stdout), done.stdout
    say(done.stdout.strip())


def test_the_demonstration(program, say):
    done = subprocess.run([program, "demo", "--once", "--port", "0"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("-> 403", "-> 200", "missing scope: operator.read", "missing_scope", "data: [DONE]"):
        assert text in done.stdout, f"{text} is missing: {done.stdout}"
    assert "-> 502" not in done.stdout, done.stdout
    say(f"{done.stdout.count('-> 200')} requests answered with 200")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_rust_suite(program, subject, say):
    """The tests of one subject, which start this program in place of their own."""
    command = ["cargo", "test", "--locked", "--quiet", "--test", "it", "--", f"{subject}::", "--test-threads=2"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"SCOPESHIM_BIN": str(program)}, capture_output=True, text=True,
                          timeout=1200, check=False)
    counted = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", done.stdout)
    assert counted and done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-2000:]}"
    assert int(counted[1]) > 0, "no test of that name"
    say(f"{counted[1]} tests")
