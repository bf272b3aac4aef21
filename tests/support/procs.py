"""Child processes: each in a group of its own, its output in a file, killed at exit, by a reaper if need be."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_running = []


class _Reaper:
    """A process that outlives this one by the moment it takes to end what this one started."""

    def __init__(self):
        self._lock, self._process = threading.Lock(), None

    def tell(self, sign, pid):
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, Path(__file__).with_name("reaper.py")], stdin=subprocess.PIPE, text=True, start_new_session=True)
            self._process.stdin.write(f"{sign}{pid}\n")
            self._process.stdin.flush()


_reaper = _Reaper()


class Timeout(Exception):
    pass


class Child:
    def __init__(self, command, log, env=None, cwd=None, keep=()):
        self.log = log
        self._out = open(log, "ab")
        self.process = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=self._out,
            stderr=subprocess.STDOUT, env=env, cwd=cwd, start_new_session=True, pass_fds=keep,
        )
        _running.append(self)
        _reaper.tell("+", self.pid)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def kill(self, grace=0.0):
        """Ends the whole group; a grace above zero asks politely first."""
        if grace and self.alive():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        self._signal(signal.SIGKILL)
        self.process.wait(10)
        self._out.close()
        if self in _running:
            _running.remove(self)
            _reaper.tell("-", self.pid)

    def tail(self, lines=30):
        with open(self.log, "rb") as file:
            file.seek(max(0, os.path.getsize(self.log) - 20_000))
            text = file.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def kill_all():
    for child in list(_running):
        try:
            child.kill()
        except Exception as err:
            print(f"cannot end process {child.pid}: {err}", file=sys.stderr)


def end_on_signals():
    atexit.register(kill_all)

    def stop(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def until(probe, seconds, what, every=0.1):
    """Polls until the probe gives something true, and gives that back."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"{what}: not within {seconds} s")
        time.sleep(every)


def steady(probe, seconds, what, every=0.1):
    """Polls until the value stays within a hundredth for five looks, and gives it."""
    seen = []

    def look():
        seen.append(probe())
        last = seen[-5:]
        return len(last) == 5 and max(last) - min(last) <= max(last) / 100

    until(look, seconds, f"{what} does not change any more", every)
    return seen[-1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Adopted:
    """A process made elsewhere that must not outlive the run either."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid
        _reaper.tell("+", self.pid)

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        _running.remove(self)
        _reaper.tell("-", self.pid)


def adopt(process):
    _running.append(_Adopted(process))


def disown(process):
    _running[:] = [item for item in _running if item.process is not process]
    _reaper.tell("-", process.pid)


def run(command, env, seconds, said=""):
    """A command to its end, what is said to it, its output taken; killed when the time is over or the run is."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    adopt(process)
    try:
        out, err = process.communicate(said, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nkilled after {seconds} s"
    finally:
        disown(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
