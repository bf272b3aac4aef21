"""What the service manager is told, and when."""

import re
import signal
import socket
import time

from tests.resilience.load import Stream
from tests.support import procs

STARTS = 10


def test_ready_is_said_once_it_is_true(new_environment, say):
    """READY=1 comes once a request is answered, and not before."""
    env, first = new_environment(), []
    for _ in range(STARTS):
        process = env.start(wait=False)
        early = env.ask(seconds=0.2)
        at = process.heard("READY=1")
        begun = time.monotonic()
        status = env.ask()
        first.append(time.monotonic() - begun)
        assert status == 200, f"READY=1 was said and the next request got {status}"
        assert early in (0, 200), f"before READY=1 a request got {early}"
        assert "STATUS=serving; gateway" in "".join(t for _, t in process.said), f"{process.said}"
        assert at, "never"
        process.stop()
    # A socket that is taken: never ready, and the manager is not told otherwise.
    with socket.create_server(("127.0.0.1", env.port)):
        process = env.start(wait=False)
        process.ended(10)
        assert process.child.process.returncode == 69, f"ended with {process.child.process.returncode}"
        assert not any("READY=1" in text for _, text in process.said), "READY=1 without its address"
    say(f"{STARTS} starts: the first request after READY=1 was served each time, at most {max(first) * 1000:.0f} ms later")


def test_a_reload_is_announced(new_environment, say):
    """`ExecReload=scopeshim reload`: RELOADING=1 with its moment, then READY=1 with the verdict; a bad file fails it."""
    env = new_environment()
    process = env.start()

    def spoken(since):
        return [text for _, text in process.said[since:]]

    seen = len(process.said)
    good = env.config.read_text()
    env.config.write_text(good.replace('"operator.read", "operator.write"', '"operator.read"'))
    code, words = env.command("reload")
    assert code == 0, f"reload ended with {code}: {words}"
    process.heard("in force")
    texts = spoken(seen)
    moment = re.search(r"MONOTONIC_USEC=(\d+)", "\n".join(texts))
    order = [k for text in texts for k in ("RELOADING=1", "READY=1") if k in text]
    assert moment and abs(int(moment[1]) / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < 30, f"{texts}"
    assert order[:2] == ["RELOADING=1", "READY=1"] and order[::2] == ["RELOADING=1"] * (len(order) // 2), f"{order}"
    seen = len(process.said)
    env.config.write_text("nonsense = [")
    code, words = env.command("reload")
    assert code != 0 and "config.toml:1" in words, f"a broken file: exit {code}, {words}"
    process.heard("stays in force")
    assert env.ask() == 200, "the last good policy is not in force"
    env.config.write_text(good)
    assert env.command("reload")[0] == 0, "mended, and still refused"
    process.signal(signal.SIGHUP)
    say(f"in force: exit 0; broken: exit {code}, the status says that the old policy stays in force")


def test_the_watchdog_and_the_stop(new_environment, say):
    env = new_environment(server='drain = "5s"')
    process = env.start(env={"WATCHDOG_USEC": "1000000"})
    def pinged():
        return [at for at, text in list(process.said) if "WATCHDOG=1" in text]

    procs.until(lambda: len(pinged()) >= 7, 10, "seven pings")
    pings = pinged()
    gaps = [b - a for a, b in zip(pings, pings[1:])]
    assert len(pings) >= 5 and max(gaps) < 1, f"{len(pings)} pings, gaps {gaps}"
    # A process that is stuck says nothing, and the manager would end it.
    process.signal(signal.SIGSTOP)
    stopped, count = time.monotonic(), len(process.said)
    time.sleep(1.5)
    silent = not any("WATCHDOG=1" in text for at, text in process.said[count:] if at > stopped + 0.1)
    process.signal(signal.SIGCONT)
    assert silent, "a stopped process said that it is well"
    procs.until(lambda: env.ask() == 200, 5, "an answer after the process was stopped for a while")
    stream = Stream(env.port, env.token, 20)
    procs.until(lambda: stream.events, 10, "the stream")
    begun = time.monotonic()
    took = process.stop(10)
    at = process.heard("STOPPING=1")
    text = next(text for _, text in process.said if "STOPPING=1" in text)
    assert at - begun < 0.2 and "STATUS=draining" in text and "EXTEND_TIMEOUT_USEC=5000000" in text, (
        f"{at - begun}: {text}"
    )
    last = max(t for t, said in process.said if "WATCHDOG=1" in said)
    assert last > begun + 0.5, "no pings during the drain, which the watchdog would end"
    say(f"{len(pings)} pings in {pings[-1] - pings[0]:.1f} s of a 1 s watchdog, the longest pause {max(gaps):.2f} s; "
        f"STOPPING=1 after {(at - begun) * 1000:.0f} ms, then {took:.1f} s of drain with pings")
