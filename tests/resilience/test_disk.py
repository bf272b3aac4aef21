"""A full disk: requests go on, an edit fails with its reason, and nothing is lost."""

import os
import subprocess

import pytest

from tests.resilience.load import Load, failed, kinds
from tests.support import procs, wsclient


def small_disk(cleanup, folder):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk needs mount(8) with root's rights: {done.stderr.strip()}")
    cleanup.callback(lambda: subprocess.run(["umount", "-l", folder], check=False))


def fill(folder):
    """To the last byte."""
    number = os.open(folder / "ballast", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for size in (4096, 512, 1):
        try:
            while True:
                os.write(number, bytes(size))
        except OSError:
            pass
    os.close(number)


def connected(env):
    """A gateway that does not insist on a device lets a client in without the proxy's key."""
    with wsclient.Socket(f"http://127.0.0.1:{env.port}", [("authorization", f"Bearer {env.token}")]) as socket:
        return socket.connect(scopes=("operator.read",))


def test_a_full_disk(new_environment, cleanup, say):
    env = new_environment()
    small = env.folder / "small"
    small.mkdir()
    small_disk(cleanup, small)
    env.state = small / "state"
    text = env.config.read_text().replace(str(env.folder / "state"), str(env.state))
    env.config = small / "config.toml"
    env.config.write_text(text)
    log = small / "log"
    process = env.start(log=log)
    procs.until(lambda: list(env.state.glob("last-good*")), 10, "the last good configuration")
    fill(small)
    before = env.config.read_bytes(), sorted(os.listdir(small)), sorted(os.listdir(env.state))

    load = Load(env.port, env.token, 100)
    refusals = []
    for words in (["token", "new", "other", "--write"], ["token", "rotate", "client"], ["token", "revoke", "client"]):
        code, said = env.command(*words)
        assert code != 0, f"{' '.join(words)} claims to have written on a full disk: {said}"
        assert "No space left" in said and str(env.config) in said, f"{' '.join(words)}: {said}"
        assert "scs_" not in said, f"{' '.join(words)} shows a token that does not exist"
        refusals.append(said.strip().splitlines()[-1])
    after = env.config.read_bytes(), sorted(os.listdir(small)), sorted(os.listdir(env.state))
    assert after == before, f"something was changed: {before[1:]} {after[1:]}"
    # A change that needs no more room than there is comes into force; keeping it for the next start cannot.
    changed = text.replace('"operator.read", "operator.write"', '"operator.read"                   ')
    kept = [f.read_text() for f in env.state.glob("last-good*")]
    with open(env.config, "r+") as file:
        file.write(changed)
    procs.until(lambda: env.ask(method="POST", target="/v1/chat/completions", body={}) == 403, 10, "the change in force")
    assert [f.read_text() for f in env.state.glob("last-good*")] == kept, "the last good configuration was damaged"
    connected(env)
    assert not (env.state / "device.key").exists(), "a device key on a full disk"
    load.wait_for(100)
    outcomes = load.stop()
    assert len(outcomes) > 80 and not failed(outcomes), f"{len(outcomes)} requests, failed: {kinds(failed(outcomes))}"
    process.kill()
    process = env.start(log=log)
    assert env.ask() == 200, "no service after a restart on the full disk"

    (small / "ballast").unlink()
    code, said = env.command("token", "new", "other", "--write")
    assert code == 0, said
    other = next(word for word in said.split() if word.startswith("scs_"))
    procs.until(lambda: env.ask(token=other) == 200, 10, "the new token in force once there is room")
    connected(env)
    procs.until(lambda: (env.state / "device.key").exists(), 10, "the device key once there is room")
    say(f"{len(outcomes)} requests and a WebSocket, 0 failed, the log on the same disk; `token new`, `rotate`, `revoke`: "
        f"{refusals[0].removeprefix('error: ').replace(str(small), '')}; nothing changed; a restart serves; with room again all goes on")
