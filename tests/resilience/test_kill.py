"""Ended by force at any moment, in the middle of work and of writing."""

import json
import random
import threading
import time
import tomllib

from tests.resilience.load import Load, failed, kinds
from tests.support import procs, wsclient

ROUNDS = 20


def upgraded(env):
    """A WebSocket client's way in: the proxy signs with its device key for it."""
    with wsclient.Socket(f"http://127.0.0.1:{env.port}", [("authorization", f"Bearer {env.token}")]) as socket:
        return socket.connect(scopes=("operator.read",))


def device(env):
    file = env.state / "device.key"
    return file.read_text() if file.exists() else None


def test_kill_9_at_any_moment(new_environment, say):
    env = new_environment()
    good, keys, texts, lost, total = env.config.read_text(), set(), set(), {}, 0
    for turn in range(ROUNDS):
        process = env.start()
        load = Load(env.port, env.token, 100, patience=10)
        over = threading.Event()
        said = []

        def busy(turn=turn, over=over, said=said):
            count = 0
            while not over.is_set():
                # Long enough that a write takes a while.
                text = good + f"# {turn} {count} " + "x" * 50_000 + "\n"
                texts.add(text)
                env.config.with_suffix(".next").write_text(text)
                env.config.with_suffix(".next").rename(env.config)
                count += 1
                try:
                    upgraded(env)
                except (OSError, wsclient.Refused, wsclient.Closed) as why:
                    said.append(str(why))
                over.wait(0.01)

        worker = threading.Thread(target=busy, daemon=True)
        worker.start()
        procs.until(lambda: device(env), 10, "a device key")
        time.sleep(random.uniform(0.2, 0.7))
        process.kill()
        over.set()
        worker.join(30)
        outcomes = load.stop()
        total += len(outcomes)
        odd = [o for o in failed(outcomes) if o.status]
        assert not odd, f"answers that are no consequence of the end: {kinds(odd)}"
        for kind, count in kinds(failed(outcomes)).items():
            lost[kind] = lost.get(kind, 0) + count
        keys.add(device(env))
        for file in env.state.iterdir():
            if file.name.startswith("last-good"):
                assert file.read_text() in texts | {good}, f"{file.name} holds what was never in force"
                tomllib.loads(file.read_text())
    # It starts on a broken configuration too: by the last good one.
    env.config.write_text("broken = [")
    process = env.start()
    assert env.ask() == 200, "no service by the last good configuration"
    env.config.write_text(good + "# mended\n")
    procs.until(lambda: "new policy is in force" in process.log(), 10, "the mended file in force")
    procs.until(lambda: "# mended" in next(env.state.glob("last-good*")).read_text(), 10, "the mended file kept")
    assert env.ask() == 200, "no service by the mended file"
    hello = upgraded(env)
    keys.add(device(env))
    assert len(keys) == 1, f"{len(keys)} device keys"
    left = sorted(f.name for f in env.state.iterdir())
    process.stop()
    assert not [n for n in left if n.endswith(".new")], f"half-written files stay behind: {left}"
    assert hello["type"] == "hello-ok", json.dumps(hello)
    say(f"{ROUNDS} kills, {total} requests under way meanwhile ({sum(lost.values())} lost with the process); one device key; "
        f"state: {', '.join(left)}")
