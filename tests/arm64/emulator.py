"""Programs for arm64 on this machine: by qemu, and where whole roots are wanted, by the kernel's binfmt_misc."""

import contextlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from tests.packages.tools import Missing
from tests.support import install, procs

NATIVE = platform.machine() in ("aarch64", "arm64")
LIBRARIES = "/usr/aarch64-linux-gnu"
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
NAME = "scopeshim-test-arm64"
# How an ELF file for arm64 begins, and which of its bits count (qemu-binfmt-conf.sh has the same).
MAGIC = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
INCLUDED = "ca-certificates,curl,systemd-standalone-sysusers,systemd-standalone-tmpfiles"


def qemu():
    found = shutil.which(os.environ.get("QEMU", "qemu-aarch64-static"))
    if not found:
        raise Missing("no qemu-aarch64-static; on Debian: apt-get install qemu-user-static")
    return found


def script(binary, folder):
    """A program of this machine that runs the one for arm64, for whoever wants a path alone."""
    if NATIVE:
        return binary
    if not Path(LIBRARIES).exists():
        raise Missing(f"no {LIBRARIES}; on Debian: apt-get install libc6-dev-arm64-cross")
    file = Path(folder) / "scopeshim-arm64"
    file.write_text(f'#!/bin/sh\nexec {qemu()} -L {LIBRARIES} {binary} "$@"\n')
    file.chmod(0o755)
    return file


@contextlib.contextmanager
def kernel():
    """The kernel runs programs for arm64, by qemu, until the end; as before afterwards."""
    if NATIVE:
        yield
        return
    mounted = BINFMT.joinpath("register").exists()
    if not mounted:
        mount = ["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT]
        done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode:
            raise Missing(f"binfmt_misc cannot be mounted: {done.stderr.strip()}")
    try:
        known = [file for file in BINFMT.iterdir() if file.name not in ("register", "status") and "b700" in file.read_text()]
        if not known:
            # F: the emulator is opened now, so that it need not be in the roots.
            BINFMT.joinpath("register").write_bytes(b":%s:M::%s:%s:%s:F" % (NAME.encode(), MAGIC, MASK, qemu().encode()))
        try:
            yield
        finally:
            if not known:
                BINFMT.joinpath(NAME).write_text("-1")
    finally:
        if not mounted:
            subprocess.run(["umount", BINFMT], capture_output=True, timeout=10, check=False)


def root():
    """Folder with a small Debian 12 for arm64; made once, and never changed after. Wants `kernel`."""
    if os.geteuid():
        raise Missing("making a root needs root")
    if not shutil.which("debootstrap"):
        raise Missing("no debootstrap; on Debian: apt-get install debootstrap")
    try:
        return install.entry("roots/bookworm-arm64", _debootstrap) / "root"
    except install.InstallError as why:
        raise Missing(f"no root for arm64: {why}") from why


def _debootstrap(folder):
    target = folder / "root"
    command = ["debootstrap", "--variant=minbase", "--arch=arm64", f"--include={INCLUDED}", "bookworm", str(target)]
    # An emulator unpacks some 150 packages.
    done = subprocess.run(command, timeout=2400, stdin=subprocess.DEVNULL, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise install.InstallError(f"debootstrap ended with {done.returncode}: {done.stdout[-800:]}")
    shutil.rmtree(target / "var/cache/apt/archives", ignore_errors=True)
    shutil.rmtree(target / "var/lib/apt/lists", ignore_errors=True)


class Debian:
    """A copy of that root, in namespaces of its own: no port and no process of the machine is in its way."""

    def __init__(self, folder):
        self.root = Path(folder) / "root"
        done = procs.run(["cp", "-a", "--reflink=auto", str(root()), str(self.root)], None, 300)
        if done.returncode:
            raise RuntimeError(f"cannot copy the root: {done.stderr}")
        up = 'ip link set lo up && mount -t proc proc "$1/proc" && exec chroot "$1" /bin/sleep infinity'
        self._holder = procs.Child(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", up, "sh", self.root],
                                   Path(folder) / "root.log")
        self.folder, self._children = Path(folder), [self._holder]
        self.pid = procs.until(self._first, 30, "a first process in the root")
        procs.until(lambda: self.run("true").returncode == 0, 30, "a root that runs programs")

    def _first(self):
        text = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        return int(text[0]) if text else None

    def _enter(self):
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "chroot", str(self.root)]

    def run(self, *command, seconds=300, said=""):
        env = {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        return procs.run([*self._enter(), *map(str, command)], env, seconds, said)

    def must(self, *command, **how):
        done = self.run(*command, **how)
        assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command, log):
        """A program in there that goes on."""
        env = {"PATH": PATH, "HOME": "/root"}
        child = procs.Child([*self._enter(), *command], self.folder / log, env)
        self._children.append(child)
        return child

    def beside(self, *command, log):
        """A program of this machine that sees the network of that one."""
        child = procs.Child(["nsenter", "--target", str(self.pid), "--net", *command], self.folder / log, dict(os.environ))
        self._children.append(child)
        return child

    def close(self):
        for child in reversed(self._children):
            child.kill()
        shutil.rmtree(self.root, ignore_errors=True)
