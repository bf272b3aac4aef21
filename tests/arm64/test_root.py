"""From the signed apt repository to a served request, in a Debian for arm64, by the lines of docs/install.md."""

import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.support import fake_gateway, procs

ROOT = Path(__file__).resolve().parents[2]
MOMENT = "1760000000"


def signed(deb, folder):
    """An apt repository with the package, signed by a throw-away key."""
    home = folder / "gpg"
    home.mkdir(mode=0o700)
    env = os.environ | {"GNUPGHOME": str(home), "SOURCE_DATE_EPOCH": MOMENT, "LC_ALL": "C.UTF-8"}
    key = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--faked-system-time",
           str(int(MOMENT) - 1000), "--quick-gen-key", "throw-away <key@localhost>", "ed25519", "sign", "0"]
    subprocess.run(key, env=env, check=True, capture_output=True, timeout=120)
    subprocess.run([ROOT / "packaging/repository.sh", folder / "served", "key@localhost", deb], env=env, check=True,
                   capture_output=True, timeout=120)
    return folder / "served"


def lines(heading):
    """The commands of docs/install.md below a heading."""
    text = (ROOT / "docs/install.md").read_text()
    part = text[text.index(f"\n## {heading}\n"):].split("\n## ", 2)[1]
    return [line for block in part.split("```sh\n")[1:] for line in block.split("```")[0].splitlines()]


def test_from_the_repository_to_a_served_request(debian, deb, tmp_path, say):
    """Every line as it stands there; `sudo` does nothing, and `systemctl` starts what the unit starts, as the unit's user."""
    shutil.copytree(signed(deb, tmp_path), debian.root / "srv/packages")
    (debian.root / "etc/apt/apt.conf.d/90-test").write_text('APT::Get::Assume-Yes "true";\nAPT::Update::Error-Mode "any";\n')
    (debian.root / "etc/apt/sources.list").write_text("")
    sudo = debian.root / "usr/local/bin/sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    assert debian.must("dpkg", "--print-architecture").strip() == "arm64"
    # The gateway, as it is on its machine.
    secret = secrets.token_hex(24)
    debian.beside("python3", "-u", fake_gateway.__file__, secret, "--port", "18789", "--stream", "3", log="gateway.log")
    home = debian.root / "root/.openclaw"
    home.mkdir()
    (home / "openclaw.json").write_text(json.dumps({"gateway": {"port": 18789, "auth": {"mode": "token", "token": secret}}}))

    token, answer, ran = "", "", 0
    for line in lines("Debian, Ubuntu, Raspberry Pi OS"):
        ran += 1
        if line.startswith("sudo scopeshim init"):
            # The package does it where systemd runs; elsewhere the next boot does.
            debian.must("systemd-tmpfiles", "--create", "scopeshim.conf")
        if line.startswith("sudo systemctl"):
            start(debian)
            continue
        line = line.replace("https://packages.example.org", "file:///srv/packages").replace("scs_...", token)
        if line.startswith("export "):
            environment = line
            continue
        if line.startswith("curl"):
            line = f"{environment}; {line} --silent --show-error"
        answer = debian.must("sh", "-c", f"({line}) </dev/null")
        if "scopeshim init" in line:
            token = next(word.strip() for word in answer.splitlines() if word.startswith("    "))
    assert ran >= 7 and '"openclaw"' in answer, f"the last of {ran} lines was answered: {answer}"

    def status(path, *more):
        line = ["curl", "--silent", "--max-time", "60", "--output", "/dev/null", "--write-out", "%{http_code}", *more]
        return debian.run(*line, f"http://127.0.0.1:18780{path}").stdout

    assert status("/v1/models") == "401", "a caller without a credential is not refused"
    chat = ["-H", f"authorization: Bearer {token}", "-H", "content-type: application/json", "--data", '{"stream": true}']
    assert status("/v1/chat/completions", *chat) == "200"
    assert debian.run("dpkg", "--verify", "scopeshim").stdout.split() in ([], ["??5??????", "c", "/etc/scopeshim/config.toml"])
    say(f"{ran} lines, 200 for the token that init printed, 401 without, a stream")


def start(debian):
    """What the unit starts, as its user, with the folders that systemd makes for it."""
    unit = (debian.root / "usr/lib/systemd/system/scopeshim.service").read_text()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    user = re.search(r"^User=(.*)$", unit, re.MULTILINE)[1]
    debian.must("install", "-d", "-o", user, "-g", user, "/run/scopeshim", "/var/lib/scopeshim")
    shim = debian.start("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command, log="scopeshim.log")

    def listening():
        if not shim.alive():
            raise AssertionError(f"it ended: {shim.tail()}")
        return debian.run("curl", "--silent", "http://127.0.0.1:18780/livez").returncode == 0

    procs.until(listening, 120, "a listener")
