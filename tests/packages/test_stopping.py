"""The service stops, dies, hangs and is restarted."""

import re
import time

from tests.packages.dist import ROOT
from tests.packages.service import CONFIG, Callers, bearer, need_serving, need_serving_soon
from tests.support import procs


def test_stops(machine, dist, say):
    idle = _stop(machine)
    assert idle < 1, f"idle, it took {idle:.2f} s to stop"
    machine.must("systemctl", "start", "scopeshim")
    stream = _stream(machine, dist)
    busy = _stop(machine)
    stream.process.wait(10)
    assert "[DONE]" in stream.tail(), f"the open stream was cut: {stream.tail(5)}"
    assert machine.shows("scopeshim", "Result")["Result"] == "success", "stopping was no success"
    machine.must("systemctl", "start", "scopeshim")
    need_serving(machine, dist.secret)
    say(f"idle {idle * 1000:.0f} ms; with an open stream {busy:.1f} s, and its end arrives")


def _stop(machine):
    begun = time.monotonic()
    machine.must("systemctl", "stop", "scopeshim")
    return time.monotonic() - begun


def _stream(machine, dist):
    """A chat that has begun to stream."""
    name = f"stream-{time.monotonic_ns()}.log"
    url = "http://127.0.0.1:18780/v1/chat/completions"
    child = machine.beside("curl", "--silent", "--show-error", "--no-buffer", *bearer(dist.secret), "--data", "{}", url, log=name)
    procs.until(lambda: '"n":1' in child.tail(), 10, "the second event")
    return child


def test_comes_back(machine, dist, say):
    before = machine.main_pid()
    begun = time.monotonic()
    machine.must("sh", "-c", f"kill -9 {before}")
    procs.until(lambda: machine.ask("/v1/models", *bearer(dist.secret))[0] == 200, 15, "an answer after kill -9")
    took = time.monotonic() - begun
    seen = machine.shows("scopeshim", "MainPID", "ActiveState")
    assert seen["MainPID"] != before and seen["ActiveState"] == "active", f"the unit is {seen}"
    say(f"killed, and serving {took:.1f} s later")


def test_is_watched(machine, dist, say):
    """A process that hangs does not tell the watchdog anything."""
    granted = machine.shows("scopeshim", "WatchdogUSec")["WatchdogUSec"]
    assert granted == "30s", f"the unit's watchdog is {granted}"
    drop_in = machine.path("/etc/systemd/system/scopeshim.service.d/quick.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=2s\n")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    before = machine.main_pid()
    # Twice the watchdog's time and more, in which nothing may happen.
    time.sleep(5)
    assert machine.main_pid() == before, "the watchdog ended a healthy process"
    machine.must("sh", "-c", f"kill -STOP {before}")
    procs.until(lambda: machine.shows("scopeshim", "MainPID")["MainPID"] not in (before, "0"), 20, "a new process")
    need_serving_soon(machine, dist)
    assert "watchdog" in machine.journal().lower(), f"it was not the watchdog: {machine.journal()}"
    drop_in.unlink()
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    say("healthy it is left alone; stopped dead it is replaced")


def test_hands_over(machine, dist, say):
    """With the socket unit, systemd keeps the socket open while the process is replaced."""
    machine.must("systemctl", "stop", "scopeshim")
    machine.must("systemctl", "enable", "--now", "scopeshim.socket")
    # Whoever comes first starts it.
    need_serving(machine, dist.secret)
    callers = Callers(machine, dist)
    for _ in range(3):
        before = machine.main_pid()
        machine.must("systemctl", "restart", "scopeshim")
        assert machine.main_pid() != before, "no new process"
        callers.wait_for(20)
    say(f"3 restarts: {callers.need_all_answered()}")


def test_stands_side_by_side(machine, dist, say):
    """What docs/restarts.md says of a second service at the same socket, line by line."""
    text = (ROOT / "docs/restarts.md").read_text()
    lines, command = (re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1] for language in ("ini", "sh"))
    unit = machine.path("/usr/lib/systemd/system/scopeshim.service").read_text()
    for section, added in re.findall(r"^(\[\w+\])\n((?:[^\[#].*\n)*)", lines, re.MULTILINE):
        for line in added.splitlines():
            # A copy has each setting once.
            unit = re.sub(rf"^{line.partition('=')[0]}=.*\n", "", unit, flags=re.MULTILINE)
            unit = unit.replace(f"{section}\n", f"{section}\n{line}\n")
    second = machine.path("/etc/systemd/system/scopeshim-next.service")
    second.write_text(unit)
    config = machine.path(CONFIG)
    shipped = config.read_text()
    config.write_text(re.sub(r"^\[admin\]\nsocket = .*\n", "", shipped, flags=re.MULTILINE))
    assert config.read_text() != shipped, "the shipped configuration names no admin socket"
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    stream, callers, before = _stream(machine, dist), Callers(machine, dist), machine.main_pid()
    machine.must("sh", "-c", command)
    assert machine.main_pid() != before, "no new process"
    seen = callers.seen()
    assert set(seen["seen"]) == {"200"} and seen["slowest"] < 1, f"somebody was refused or waited: {seen}"
    stream.process.wait(10)
    assert "[DONE]" in stream.tail(), f"the open stream was cut: {stream.tail(5)}"
    second.unlink()
    config.write_text(shipped)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    say(f"{seen['seen']['200']} new connections, the slowest {seen['slowest'] * 1000:.0f} ms, beside an open stream")
