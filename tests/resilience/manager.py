"""As much of systemd as one service needs: it holds the socket, hands it on, hears what the service says."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.support import procs

# Descriptor 3 and the process's own number are what sd_listen_fds(3) asks for.
HAND_ON = """import os, sys
fd = int(sys.argv[1])
os.dup2(fd, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Process:
    def __init__(self, child, said):
        self.child, self.said = child, said

    @property
    def pid(self):
        return self.child.pid

    def signal(self, number):
        os.kill(self.child.pid, number)

    def stop(self, seconds=60):
        """SIGTERM and the end; the seconds it took."""
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        return self.ended(seconds) - begun

    def ended(self, seconds=60):
        """When it was gone."""
        try:
            self.child.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise procs.Timeout(f"the process did not end within {seconds} s") from None
        return time.monotonic()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.process.wait(10)

    def heard(self, part, seconds=10):
        """The moment at which the process said this."""
        def found():
            return next((at for at, text in list(self.said) if part in text), None)
        return procs.until(found, seconds, f"{part} from the service", every=0.005)

    def log(self):
        return Path(self.child.log).read_text("utf-8", "replace")

    def rss(self):
        """KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Manager:
    def __init__(self, folder, held):
        self.folder, self._count, self._sockets = Path(folder), 0, []
        self.held = None
        if held:
            self.held = socket.create_server(("127.0.0.1", 0), backlog=4096)
            self.port = self.held.getsockname()[1]
        else:
            self.port = procs.free_port()
        self._children = []

    def runtime(self, name):
        """A service's RuntimeDirectory."""
        made = self.folder / f"run-{name}"
        made.mkdir(mode=0o750, exist_ok=True)
        return made

    def start(self, command, env=None, runtime="a", log=None, wait=True, seconds=20):
        self._count += 1
        said, address = [], self.folder / f"notify-{self._count}"
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(str(address))
        self._sockets.append(ear)
        threading.Thread(target=hear, args=(ear, said), daemon=True).start()
        env = {**os.environ, "NO_COLOR": "1", "NOTIFY_SOCKET": str(address), "RUNTIME_DIRECTORY": str(self.runtime(runtime)),
               "STATE_DIRECTORY": str(self.folder / "state"), **(env or {})}
        if self.held:
            number = self.held.fileno()
            os.set_inheritable(number, True)
            command = [sys.executable, "-S", "-c", HAND_ON, number, *command]
        process = Process(spawn(command, log or self.folder / f"log-{self._count}", env, self.held), said)
        self._children.append(process)
        if wait:
            try:
                process.heard("READY=1", seconds)
            except procs.Timeout as why:
                raise procs.Timeout(f"{why}\n{process.child.tail()}") from why
        return process

    def close(self):
        for process in self._children:
            process.child.kill()
        for ear in [*self._sockets, *filter(None, [self.held])]:
            ear.close()


def hear(ear, said):
    while True:
        try:
            text = ear.recv(65536).decode("utf-8", "replace")
        except OSError:
            return
        said.append((time.monotonic(), text))


def spawn(command, log, env, held):
    """A child that keeps the socket handed on."""
    return procs.Child(command, log, env, keep=(held.fileno(),) if held else ())
