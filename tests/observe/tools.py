"""What the tests need beside Python: promtool and prometheus, a browser and what drives it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import install
from suite import Unable


class Missing(Unable):
    """A tool is not here and cannot be had; says why."""


def prometheus():
    """Paths of promtool and prometheus: Debian's, unpacked into the cache and not installed."""
    try:
        folder = install._entry("prometheus", _unpack) / "usr/bin"
    except install.InstallError as why:
        found = [shutil.which(name) for name in ("promtool", "prometheus")]
        if not all(found):
            raise Missing(f"no promtool and prometheus: {why}") from why
        return found
    return [str(folder / "promtool"), str(folder / "prometheus")]


def _unpack(folder):
    with tempfile.TemporaryDirectory() as work:
        _run(["apt-get", "download", "-qq", "prometheus"], work)
        package = next(Path(work).glob("prometheus_*.deb"), None)
        if package is None:
            raise install.InstallError("apt-get download brought no package prometheus")
        _run(["dpkg", "-x", str(package), str(folder)], work)
    _run([str(folder / "usr/bin/promtool"), "--version"], folder)


def _run(command, folder):
    try:
        done = subprocess.run(command, cwd=folder, timeout=300, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as why:
        raise install.InstallError(str(why)) from why
    if done.returncode:
        raise install.InstallError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-500:]}")


def browser():
    """The browser, node, and the folder whose node_modules holds playwright-core."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise Missing("no chromium; on Debian: apt-get install chromium")
    try:
        driver = install.playwright()
    except install.InstallError as why:
        raise Missing(f"no playwright-core: {why}") from why
    node = shutil.which("node")
    if not node:
        raise Missing("no node")
    return chromium, node, driver
