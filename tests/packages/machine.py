"""A small Debian with systemd as process 1, in namespaces: units run there under all their restrictions."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.packages.tools import Missing
from tests.support import procs

HERE = Path(__file__).resolve().parent
NAMESPACES = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net"]
START_SECONDS = 60


class Machine:
    def __init__(self, base, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / "root"
        self._cgroup = _own_cgroup() / f"scopeshim-{os.getpid()}-{folder.name}"
        self._children = []
        done = procs.run(["cp", "-a", "--reflink=auto", str(base), str(self.root)], None, 300)
        if done.returncode:
            raise RuntimeError(f"cannot copy the root: {done.stderr}")
        self.folder = folder
        self._boot()

    def _boot(self):
        self._cgroup.mkdir()
        boot = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
        self._outer = procs.Child(
            ["sh", "-c", boot, "sh", self._cgroup, "unshare", *NAMESPACES, "--fork", "--kill-child",
             HERE / "boot.sh", self.root], self.folder / "boot.log")
        try:
            self.pid = procs.until(self._first_child, 10, "a first process")
            procs.until(self._is_up, START_SECONDS, "systemd up", every=0.2)
        except (procs.Timeout, Missing) as why:
            self.close()
            raise Missing(f"systemd does not start in namespaces: {why}\n{self._outer.tail()}") from why

    def _first_child(self):
        if not self._outer.alive():
            raise Missing(f"it ended with {self._outer.process.returncode}")
        text = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        return int(text.split()[0]) if text.split() else None

    def _is_up(self):
        if not self._outer.alive():
            raise Missing(f"it ended with {self._outer.process.returncode}")
        return self.run("systemctl", "is-active", "basic.target").stdout.strip() == "active"

    def run(self, *command, seconds=120, said=""):
        """A command in there, as root."""
        # A session of its own: what it sends to its process group stays there.
        enter = ["nsenter", "--target", str(self.pid), "--all", "--wdns=/", "setsid", "--wait"]
        env = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        return procs.run([*enter, *map(str, command)], env, seconds, said)

    def must(self, *command, **how):
        """The same; what it printed, and an error if it failed."""
        done = self.run(*command, **how)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def beside(self, *command, log):
        """A program of the outer machine that sees the network of this one."""
        child = procs.Child([*self._net(), *command], self.folder / log, dict(os.environ))
        self._children.append(child)
        return child

    def ask(self, path, *curl):
        """Status and body of a request to the proxy in there."""
        end = "\n%{http_code}"
        done = procs.run([*self._net(), "curl", "--silent", "--show-error", "--max-time", "20", "--write-out", end, *curl,
                          f"http://127.0.0.1:18780{path}"], dict(os.environ), 30)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body or done.stderr

    def _net(self):
        return ["nsenter", "--target", str(self.pid), "--net"]

    def bring(self, file):
        """Puts a file into the root; its path there."""
        self.path(f"/root/{file.name}").write_bytes(file.read_bytes())
        return f"/root/{file.name}"

    def path(self, inside):
        return self.root / str(inside).lstrip("/")

    def journal(self, unit="scopeshim.service", lines=40):
        return self.run("journalctl", "--no-pager", "--output=cat", "-u", unit, "-n", lines).stdout

    def shows(self, unit, *properties):
        """Properties of a unit as systemd sees them."""
        said = self.must("systemctl", "show", unit, *[f"--property={name}" for name in properties])
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def main_pid(self):
        found = self.shows("scopeshim", "MainPID")["MainPID"]
        if found == "0":
            raise RuntimeError(f"the service does not run: {self.journal()}")
        return found

    def close(self):
        for child in [*self._children, self._outer]:
            child.kill()
        # Processes in there end with their first one, but not in the same instant.
        with contextlib.suppress(procs.Timeout):
            procs.until(lambda: _remove_cgroup(self._cgroup), 5, "an empty group of processes")
        shutil.rmtree(self.root, ignore_errors=True)


def _own_cgroup():
    """Where this process is in the second version's hierarchy of control groups."""
    if os.geteuid():
        raise Missing("systemd as process 1 of namespaces needs root")
    for tool in ("unshare", "nsenter", "setpriv", "curl"):
        if not shutil.which(tool):
            raise Missing(f"no {tool}")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    where = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if where is None:
        raise Missing("no cgroup2 is mounted, and systemd needs it")
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    folder = where / own.removeprefix("0::").lstrip("/")
    if not os.access(folder, os.W_OK):
        raise Missing(f"{folder} cannot be written")
    return folder


def _remove_cgroup(folder):
    try:
        for inner, _, _ in os.walk(folder, topdown=False):
            os.rmdir(inner)
    except OSError:
        return False
    return True


def supported():
    """Says why no machine can be had, or nothing."""
    try:
        _own_cgroup()
        subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], check=True, capture_output=True, timeout=30)
    except Missing as why:
        return str(why)
    except (subprocess.SubprocessError, OSError) as why:
        return f"no namespaces: {why}"
    return ""
