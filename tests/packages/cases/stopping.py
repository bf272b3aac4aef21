"""The service stops, dies, hangs and is restarted."""

import json
import re
import time

from tests.support import procs
from tests.packages.base import ROOT
from tests.support.suite import need
from tests.packages.cases.arriving import CONFIG, bearer, need_serving


def stops(kind, ctx):
    machine = ctx.machine(kind.name, kind.suite)
    idle = _stop(machine)
    need(idle < 1, f"idle, it took {idle:.2f} s to stop")
    machine.must("systemctl", "start", "scopeshim")
    stream = _stream(machine, ctx)
    busy = _stop(machine)
    stream.process.wait(10)
    need("[DONE]" in stream.tail(), f"the open stream was cut: {stream.tail(5)}")
    need(machine.shows("scopeshim", "Result")["Result"] == "success", "stopping was no success")
    machine.must("systemctl", "start", "scopeshim")
    need_serving(machine, ctx.secret)
    return f"idle {idle * 1000:.0f} ms; with an open stream {busy:.1f} s, and its end arrives"


def _stop(machine):
    begun = time.monotonic()
    machine.must("systemctl", "stop", "scopeshim")
    return time.monotonic() - begun


def _stream(machine, ctx):
    """A chat that has begun to stream."""
    name = f"stream-{time.monotonic_ns()}.log"
    url = "http://127.0.0.1:18790/v1/chat/completions"
    child = machine.beside("curl", "--silent", "--show-error", "--no-buffer", *bearer(ctx.secret), "--data", "{}", url, log=name)
    procs.until(lambda: "data: 2" in child.tail(), 10, "the second event")
    return child


def comes_back(kind, ctx):
    machine = ctx.machine(kind.name, kind.suite)
    before = machine.main_pid()
    begun = time.monotonic()
    machine.must("sh", "-c", f"kill -9 {before}")
    procs.until(lambda: machine.ask("/v1/models", *bearer(ctx.secret))[0] == 200, 15, "an answer after kill -9")
    took = time.monotonic() - begun
    seen = machine.shows("scopeshim", "MainPID", "ActiveState")
    need(seen["MainPID"] != before and seen["ActiveState"] == "active", f"the unit is {seen}")
    return f"killed, and serving {took:.1f} s later"


def is_watched(kind, ctx):
    """A process that hangs does not tell the watchdog anything."""
    machine = ctx.machine(kind.name, kind.suite)
    granted = machine.shows("scopeshim", "WatchdogUSec")["WatchdogUSec"]
    need(granted == "30s", f"the unit's watchdog is {granted}")
    drop_in = machine.path("/etc/systemd/system/scopeshim.service.d/quick.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=2s\n")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    before = machine.main_pid()
    time.sleep(5)
    need(machine.main_pid() == before, "the watchdog ended a healthy process")
    machine.must("sh", "-c", f"kill -STOP {before}")
    procs.until(lambda: machine.shows("scopeshim", "MainPID")["MainPID"] not in (before, "0"), 20, "a new process")
    need_serving_soon(machine, ctx)
    need("watchdog" in machine.journal().lower(), f"it was not the watchdog: {machine.journal()}")
    drop_in.unlink()
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    return "healthy it is left alone; stopped dead it is replaced"


def need_serving_soon(machine, ctx):
    procs.until(lambda: machine.ask("/v1/models", *bearer(ctx.secret))[0] == 200, 10, "an answer")


def hands_over(kind, ctx):
    """With the socket unit, systemd holds the door while the process changes."""
    machine = ctx.machine(kind.name, kind.suite)
    machine.must("systemctl", "stop", "scopeshim")
    machine.must("systemctl", "enable", "--now", "scopeshim.socket")
    # Whoever comes first starts it.
    need_serving(machine, ctx.secret)
    callers = Callers(machine, ctx)
    for _ in range(3):
        before = machine.main_pid()
        machine.must("systemctl", "restart", "scopeshim")
        need(machine.main_pid() != before, "no new process")
        time.sleep(0.5)
    return f"3 restarts: {callers.need_all_answered()}"


def stands_side_by_side(kind, ctx):
    """What docs/restarts.md says of a second service at the same socket, line by line."""
    machine = ctx.machine(kind.name, kind.suite)
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
    need(config.read_text() != shipped, "the shipped configuration names no admin socket")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    stream, callers, before = _stream(machine, ctx), Callers(machine, ctx), machine.main_pid()
    machine.must("sh", "-c", command)
    need(machine.main_pid() != before, "no new process")
    seen = callers.seen()
    need(set(seen["seen"]) == {"200"} and seen["slowest"] < 1, f"somebody was refused or waited: {seen}")
    stream.process.wait(10)
    need("[DONE]" in stream.tail(), f"the open stream was cut: {stream.tail(5)}")
    second.unlink()
    config.write_text(shipped)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    return f"{seen['seen']['200']} new connections, the slowest {seen['slowest'] * 1000:.0f} ms, beside an open stream"


class Callers:
    """New connections, one after the other, while something happens."""

    def __init__(self, machine, ctx):
        self._log = machine.folder / f"callers-{time.monotonic_ns()}.log"
        self._child = machine.beside("python3", ctx.here / "callers.py", ctx.secret, "10", log=self._log.name)
        time.sleep(0.5)

    def seen(self):
        """Ends them: what became of their connections, and the slowest answer in seconds."""
        self._child.process.terminate()
        self._child.process.wait(30)
        return json.loads(self._log.read_text())

    def need_all_answered(self):
        said = self.seen()
        need(set(said["seen"]) == {"200"} and said["seen"]["200"] >= 50, f"new connections fared so: {said}")
        return f"{said['seen']['200']} new connections, 0 failed, the slowest {said['slowest'] * 1000:.0f} ms"
