"""The packages under test, and the release that follows them."""

import functools
import secrets
from pathlib import Path

from tests.packages import repack

ROOT = Path(__file__).resolve().parents[2]


class Dist:
    """`packages` is the folder that holds them; `folder` is for what is made of them."""

    def __init__(self, packages, folder):
        self.packages, self.folder = packages, folder
        self.deb = _only(packages, "*.deb")
        self.rpm = _only(packages, "*.rpm")
        # The gateway's, in every system.
        self.secret = secrets.token_hex(24)

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
