"""Cases, and what they are given."""

import contextlib
import functools
import secrets
import tempfile
from pathlib import Path

from tests.packages import machine
from tests.packages import repack
from tests.packages import tools

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Context:
    """Nothing is made before a case asks for it; what was made lives until the end."""

    def __init__(self, dist):
        self.here = HERE
        self.dist = dist
        self.deb = _only(dist, "*.deb")
        self.rpm = _only(dist, "*.rpm")
        self.secret = secrets.token_hex(24)
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="scopeshim-packages-")))
        self._machines = {}

    @functools.cached_property
    def next_deb(self):
        return repack.deb(self.deb, self.folder)

    @functools.cached_property
    def next_rpm(self):
        return repack.rpm(self.folder)

    def machine(self, name, suite="bookworm"):
        """The machine of this name: each has its own history. One that could not be had is not tried again."""
        if name not in self._machines:
            try:
                made = machine.Machine(tools.root(suite), self.folder / name)
            except tools.Missing as why:
                made = why
            else:
                self._stack.callback(made.close)
            self._machines[name] = made
        made = self._machines[name]
        if isinstance(made, tools.Missing):
            raise made
        return made

    def bring(self, where, file):
        """Puts a file into a machine's root; its path there."""
        target = where.path(f"/root/{file.name}")
        target.write_bytes(file.read_bytes())
        return f"/root/{file.name}"

    def close(self):
        self._stack.close()


def _only(dist, pattern):
    found = sorted(dist.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{dist} holds {len(found)} of {pattern}, not one")
    return found[0]
