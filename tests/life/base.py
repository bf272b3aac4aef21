"""Cases, and what they are given."""

import contextlib
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.life import house


@dataclass
class Context:
    binary: Path
    # How long the soak lasts.
    seconds: int

    def __post_init__(self):
        self._all = contextlib.ExitStack()
        self._case = contextlib.ExitStack()
        self.folder = Path(self._all.enter_context(tempfile.TemporaryDirectory(prefix="scopeshim-life-")))
        self._made = 0

    @functools.cached_property
    def gateway(self):
        """One stand-in for all cases."""
        made = house.Gateway(self.folder)
        self._all.callback(made.stop)
        return made

    def house(self, **how):
        """A configuration with its folders, in which processes can be started; gone when the case is over."""
        self._made += 1
        made = house.House(self.binary, self.folder / f"house-{self._made}", self.gateway, **how)
        self._case.callback(made.close)
        return made

    def after(self, stop):
        self._case.callback(stop)

    def end_case(self):
        self._case.close()

    def close(self):
        self._case.close()
        self._all.close()
