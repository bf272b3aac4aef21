"""A process under callgrind: it counts the instructions of a stretch of time, and says which functions they were in."""

import os
import re
import subprocess
from collections import Counter

from tests.support import procs

START_SECONDS = 120
_HASH = re.compile(r"(::h[0-9a-f]{16}|'\d+)$")
_COST = re.compile(r"(?:[+-]?\d+|\*) \d+$")
_NAMED = re.compile(r"(?:fn|cfn)=\((\d+)\)(?: (.*))?$")


class Callgrind:
    """Runs a command, and writes what was counted since the last time whenever it is asked to."""

    def __init__(self, command, folder, env):
        self._folder, self._dumps = folder, 0
        self._out = folder / "callgrind.out"
        options = ["--tool=callgrind", f"--callgrind-out-file={self._out}", "--dump-line=no", "--vgdb=yes",
                   f"--vgdb-prefix={folder / 'vgdb'}"]
        self.child = procs.Child(["valgrind", *options, *command], folder / "log", {**os.environ, **env}, folder)

    def take(self):
        """The instructions since it was last called, by function."""
        said = subprocess.run(["vgdb", f"--vgdb-prefix={self._folder / 'vgdb'}", f"--pid={self.child.pid}", "dump"],
                              capture_output=True, text=True, timeout=60)
        self._dumps += 1
        written = self._out.with_name(f"callgrind.out.{self._dumps}")
        try:
            procs.until(lambda: written.exists() and "\ntotals:" in written.read_text(), 20, "callgrind writes what it counted")
        except procs.Timeout as late:
            raise RuntimeError(f"{late}: {said.stderr[-500:]}\n{self.child.tail()}") from late
        return by_function(written.read_text())

    def stop(self):
        self.child.kill(grace=5)


def by_function(text):
    """Instructions of each function itself, without what it calls, from a file of callgrind's."""
    names, cost = {}, Counter()
    function, of_a_call = None, False
    for line in text.splitlines():
        if named := _NAMED.match(line):
            number, name = named.groups()
            if name:
                names[number] = _HASH.sub("", _HASH.sub("", name))
            if line.startswith("fn="):
                function = names[number]
        elif line.startswith("calls="):
            # The next line is the cost of the function that was called.
            of_a_call = True
        elif _COST.match(line):
            if not of_a_call and function:
                cost[function] += int(line.split()[1])
            of_a_call = False
    return cost
