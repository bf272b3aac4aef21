"""Cases, and what they are given."""

import contextlib
import functools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.observe import rig
from tests.observe import tools

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass
class Context:
    """Nothing starts before a case asks for it; what started lives until the end."""

    binary: Path
    # How many different paths and tokens the case about series sends.
    many: int
    # Where screenshots are left; None: they are thrown away.
    shots: Path | None
    # What people saw elsewhere than in the process's own output: pages, answers, terminals.
    seen: list = field(default_factory=list)
    rigs: list = field(default_factory=list)

    def __post_init__(self):
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="scopeshim-observe-")))
        self.shots = self.shots or self.folder

    @functools.cached_property
    def rig(self):
        return self.new_rig()

    def new_rig(self, **how):
        made = rig.Rig(self.binary, self.folder / f"rig-{len(self.rigs)}", **how)
        self.rigs.append(made)
        self._stack.callback(made.close)
        return made

    @functools.cached_property
    def _prometheus(self):
        return tools.prometheus()

    @property
    def promtool(self):
        return self._prometheus[0]

    @property
    def prometheus(self):
        return self._prometheus[1]

    def at_end(self, stop):
        self._stack.callback(stop)

    def close(self):
        self._stack.close()
