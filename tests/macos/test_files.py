"""What macOS reads, as files: the launchd job, and Homebrew's formula. Nothing of it was run on a Mac."""

import hashlib
import plistlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.packages import tools

ROOT = Path(__file__).resolve().parents[2]
MACOS = ROOT / "packaging/macos"
# launchd.plist(5): the keys in use, and what each must be.
KEYS = {"Label": str, "ProgramArguments": list, "EnvironmentVariables": dict, "RunAtLoad": bool, "KeepAlive": dict,
        "ThrottleInterval": int, "ExitTimeOut": int, "SoftResourceLimits": dict, "Umask": int, "ProcessType": str}
DRAIN_SECONDS = 30
OPEN_MAX = 10_240


def test_the_launchd_job(say):
    job = plistlib.loads((MACOS / "scopeshim.plist").read_bytes())
    assert {key: type(value) for key, value in job.items()} == KEYS
    assert job["ExitTimeOut"] > DRAIN_SECONDS, "launchd kills while streams may still go on"
    assert job["SoftResourceLimits"]["NumberOfFiles"] == OPEN_MAX
    assert job["Umask"] == 0o077
    shell, flag, line = job["ProgramArguments"]
    assert (shell, flag) == ("/bin/sh", "-c") and line.startswith("exec "), "the shell stays between launchd and scopeshim"
    subprocess.run([shell, "-n", flag, line], check=True, timeout=10)
    # The documents name the same places.
    page = (ROOT / "docs/macos.md").read_text()
    for path in re.findall(r'\$HOME(/[^"]+)|(/usr/local\S+)', line):
        assert "".join(path) in page, f"docs/macos.md does not name {''.join(path)}"
    say(line)


@pytest.fixture(scope="module")
def formula(tmp_path_factory):
    archive = tmp_path_factory.mktemp("release") / "scopeshim-1.2.3-source.tar.gz"
    archive.write_bytes(b"a source archive")
    done = subprocess.run([MACOS / "formula.sh", "https://packages.example.org/", archive], capture_output=True, text=True,
                          timeout=10, check=True)
    return done.stdout, hashlib.sha256(archive.read_bytes()).hexdigest()


def test_homebrew_s_formula(formula, say):
    text, digest = formula
    done = subprocess.run([tools.program("ruby"), "-wc"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "Syntax OK" and not done.stderr, done.stdout + done.stderr
    assert 'url "https://packages.example.org/scopeshim-1.2.3-source.tar.gz"' in text
    assert f'sha256 "{digest}"' in text
    assert "@" not in text.replace("#{", ""), "something was not filled in"
    # What is installed from the source archive is in it.
    for line in re.findall(r"^ *(?:pkgshare|doc)\.install (.*)$", text, re.MULTILINE):
        for name in re.findall(r'"([^"]+)"', line):
            assert (ROOT / name).exists(), f"there is no {name}"
    say("ruby takes it; brew itself was not at hand")


def test_what_the_formula_s_own_test_checks_is_right(formula, tmp_path):
    text, _ = formula
    config = re.search(r'"config.toml"\).write <<~EOS\n(.*?)\n +EOS', text, re.DOTALL)[1].replace('#{"0" * 64}', "0" * 64)
    config = "\n".join(line.strip() for line in config.splitlines()) + "\n"
    tomllib.loads(config)
    file = tmp_path / "config.toml"
    file.write_text(config)
    binary = ROOT / "target/debug/scopeshim"
    if not binary.exists():
        pytest.skip("target/debug/scopeshim is not built")
    done = subprocess.run([binary, "check", "--config", file], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
