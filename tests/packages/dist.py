"""The packages under test, and the release that follows them."""

import functools
import platform
import secrets
from pathlib import Path

from tests.packages import repack

ROOT = Path(__file__).resolve().parents[2]
# This machine's processor, by Debian's name; and every processor's by rpm's.
OWN = "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"
RPM = {"amd64": "x86_64", "arm64": "aarch64"}


class Dist:
    """`packages` is the folder that holds them; `folder` is for what is made of them."""

    def __init__(self, packages, folder):
        self.packages, self.folder = packages, folder
        # Those of this machine's processor are installed; all are looked at.
        self.architectures = [arch for arch in RPM if list(packages.glob(f"*_{arch}.deb"))]
        self.deb, self.rpm = self.deb_of(OWN), self.rpm_of(OWN)
        # The gateway's, in every system.
        self.secret = secrets.token_hex(24)

    def deb_of(self, arch):
        return _only(self.packages, f"*_{arch}.deb")

    def rpm_of(self, arch):
        return _only(self.packages, f"*.{RPM[arch]}.rpm")

    def tarball_of(self, arch):
        return _only(self.packages, f"*-linux-{arch}.tar.gz")

    @functools.cached_property
    def next_deb(self):
        return repack.deb(self.deb, self.folder)

    @functools.cached_property
    def next_rpm(self):
        return repack.rpm(self.folder)


def _only(packages, pattern):
    found = sorted(packages.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{packages} holds {len(found)} of {pattern}, not one; build the packages first")
    return found[0]
