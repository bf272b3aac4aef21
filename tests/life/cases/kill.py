"""Ended by force at any moment, in the middle of work and of writing."""

import json
import random
import threading
import time
import tomllib

from tests.support import procs
from tests.support import wsclient
from tests.support.suite import case, need
from tests.life.load import Load, failed, kinds

ROUNDS = 20


def upgraded(house):
    """A WebSocket client's way in: the proxy signs with its device key for it."""
    with wsclient.Socket(f"http://127.0.0.1:{house.port}", [("authorization", f"Bearer {house.token}")]) as socket:
        return socket.connect(scopes=("operator.read",))


def device(house):
    file = house.state / "device.key"
    return file.read_text() if file.exists() else None


@case("kill -9")
def kill(ctx):
    house = ctx.house()
    good, keys, texts, lost, total = house.config.read_text(), set(), set(), {}, 0
    for turn in range(ROUNDS):
        process = house.start()
        load = Load(house.port, house.token, 100, patience=10)
        over = threading.Event()
        said = []

        def busy(turn=turn, over=over, said=said):
            count = 0
            while not over.is_set():
                # Long enough that a write takes a while.
                text = good + f"# {turn} {count} " + "x" * 50_000 + "\n"
                texts.add(text)
                house.config.with_suffix(".next").write_text(text)
                house.config.with_suffix(".next").rename(house.config)
                count += 1
                try:
                    upgraded(house)
                except (OSError, wsclient.Refused, wsclient.Closed) as why:
                    said.append(str(why))
                over.wait(0.01)

        worker = threading.Thread(target=busy, daemon=True)
        worker.start()
        procs.until(lambda: device(house), 10, "a device key")
        time.sleep(random.uniform(0.2, 0.7))
        process.kill()
        over.set()
        worker.join(30)
        outcomes = load.stop()
        total += len(outcomes)
        odd = [o for o in failed(outcomes) if o.status]
        need(not odd, f"answers that are no consequence of the end: {kinds(odd)}")
        for kind, count in kinds(failed(outcomes)).items():
            lost[kind] = lost.get(kind, 0) + count
        keys.add(device(house))
        for file in house.state.iterdir():
            if file.name.startswith("last-good"):
                need(file.read_text() in texts | {good}, f"{file.name} holds what was never in force")
                tomllib.loads(file.read_text())
    # It starts on a broken configuration too: by the last good one.
    house.config.write_text("broken = [")
    process = house.start()
    need(house.ask() == 200, "no service by the last good configuration")
    house.config.write_text(good + "# mended\n")
    procs.until(lambda: "new policy is in force" in process.log(), 10, "the mended file in force")
    procs.until(lambda: "# mended" in next(house.state.glob("last-good*")).read_text(), 10, "the mended file kept")
    need(house.ask() == 200, "no service by the mended file")
    hello = upgraded(house)
    keys.add(device(house))
    need(len(keys) == 1, f"{len(keys)} device keys")
    left = sorted(f.name for f in house.state.iterdir())
    process.stop()
    need(not [n for n in left if n.endswith(".new")], f"half-written files stay behind: {left}")
    need(hello["type"] == "hello-ok", json.dumps(hello))
    return f"{ROUNDS} kills, {total} requests under way meanwhile ({sum(lost.values())} lost with the process); one device key; state: {', '.join(left)}"
