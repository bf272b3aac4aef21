"""The roots that packages are installed into, and the programs that look at packages."""

import os
import shutil
import subprocess

import pytest

from tests.support import install

DEBOOTSTRAP_SECONDS = 1200


class Missing(pytest.skip.Exception):
    """Something is not here and cannot be had; says why."""


def root(suite):
    """Folder with a minimal Debian that has systemd and rpm; made once, and never changed after."""
    if os.geteuid():
        raise Missing("making a root needs root")
    if not shutil.which("debootstrap"):
        raise Missing("no debootstrap; on Debian: apt-get install debootstrap")
    try:
        return install.entry(f"roots/{suite}", lambda folder: _debootstrap(suite, folder)) / "root"
    except install.InstallError as why:
        raise Missing(f"no root of {suite}: {why}") from why


def _debootstrap(suite, folder):
    target = folder / "root"
    command = ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,rpm", suite, str(target)]
    done = subprocess.run(command, timeout=DEBOOTSTRAP_SECONDS, stdin=subprocess.DEVNULL, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise install.InstallError(f"debootstrap ended with {done.returncode}: {done.stdout[-800:]}")
    # Debian keeps rpm's database in the home of whoever calls; here it is the system's, as on Fedora.
    (target / "etc/rpm").mkdir(exist_ok=True)
    (target / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
    shutil.rmtree(target / "var/cache/apt/archives", ignore_errors=True)
    shutil.rmtree(target / "var/lib/apt/lists", ignore_errors=True)


def program(name, package=None):
    found = shutil.which(name)
    if not found:
        raise Missing(f"no {name}; on Debian: apt-get install {package or name}")
    return found
