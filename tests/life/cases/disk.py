"""A full disk: requests go on, an edit fails with its reason, and nothing is lost."""

import os
import subprocess
import time

from tests.support import procs
from tests.support import wsclient
from tests.support.suite import Unable, case, need
from tests.life.load import Load, failed, kinds


def small_disk(ctx, folder):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", folder], capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"a small disk needs mount(8) with root's rights: {done.stderr.strip()}")
    ctx.after(lambda: subprocess.run(["umount", "-l", folder], check=False))


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


def connected(house):
    """A gateway that does not insist on a device lets a client in without the proxy's key."""
    with wsclient.Socket(f"http://127.0.0.1:{house.port}", [("authorization", f"Bearer {house.token}")]) as socket:
        return socket.connect(scopes=("operator.read",))


@case("disk full")
def disk(ctx):
    house = ctx.house()
    small = house.folder / "small"
    small.mkdir()
    small_disk(ctx, small)
    house.state = small / "state"
    text = house.config.read_text().replace(str(house.folder / "state"), str(house.state))
    house.config = small / "config.toml"
    house.config.write_text(text)
    log = small / "log"
    process = house.start(log=log)
    procs.until(lambda: list(house.state.glob("last-good*")), 10, "the last good configuration")
    fill(small)
    before = house.config.read_bytes(), sorted(os.listdir(small)), sorted(os.listdir(house.state))

    load = Load(house.port, house.token, 100)
    refusals = []
    for words in (["token", "new", "other", "--write"], ["token", "rotate", "client"], ["token", "revoke", "client"]):
        code, said = house.command(*words)
        need(code != 0, f"{' '.join(words)} claims to have written on a full disk: {said}")
        need("No space left" in said and str(house.config) in said, f"{' '.join(words)}: {said}")
        need("scs_" not in said, f"{' '.join(words)} shows a token that does not exist")
        refusals.append(said.strip().splitlines()[-1])
    after = house.config.read_bytes(), sorted(os.listdir(small)), sorted(os.listdir(house.state))
    need(after == before, f"something was changed: {before[1:]} {after[1:]}")
    # A change that needs no more room than there is comes into force; keeping it for the next start cannot.
    changed = text.replace('"operator.read", "operator.write"', '"operator.read"                   ')
    kept = [f.read_text() for f in house.state.glob("last-good*")]
    with open(house.config, "r+") as file:
        file.write(changed)
    procs.until(lambda: house.ask(method="POST", target="/v1/chat/completions", body={}) == 403, 10, "the change in force")
    need([f.read_text() for f in house.state.glob("last-good*")] == kept, "the last good configuration was damaged")
    connected(house)
    need(not (house.state / "device.key").exists(), "a device key on a full disk")
    time.sleep(1)
    outcomes = load.stop()
    need(len(outcomes) > 80 and not failed(outcomes), f"{len(outcomes)} requests, failed: {kinds(failed(outcomes))}")
    process.kill()
    process = house.start(log=log)
    need(house.ask() == 200, "no service after a restart on the full disk")

    (small / "ballast").unlink()
    code, said = house.command("token", "new", "other", "--write")
    need(code == 0, said)
    other = next(word for word in said.split() if word.startswith("scs_"))
    procs.until(lambda: house.ask(token=other) == 200, 10, "the new token in force once there is room")
    connected(house)
    procs.until(lambda: (house.state / "device.key").exists(), 10, "the device key once there is room")
    return (f"{len(outcomes)} requests and a WebSocket, 0 failed, the log on the same disk; `token new`, `rotate`, `revoke`: "
            f"{refusals[0].removeprefix('error: ').replace(str(small), '')}; nothing changed; a restart serves; with room again all goes on")
