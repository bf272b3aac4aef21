"""A client that hangs up in the middle of a stream."""

import os
import re
import time
from pathlib import Path

from tests.e2e.environment import case
from tests.e2e.streams import open_stream, slow_model
from tests.support.outcomes import NotAvailable
from tests.support.procs import Timeout, until

ABORTS_FROM = (2026, 6)


def _model_hears(env, side):
    """Seconds until the model's connection was closed, or None if it was let run."""
    with slow_model(env):
        with open_stream(side):
            call = env.model.calls[-1]
        left = time.monotonic()
        try:
            until(lambda: call.hung_up_at or call.done, 3, "the model is told", every=0.02)
        except Timeout:
            return None
    return call.hung_up_at - left if call.hung_up_at else None


@case("hangup.model-told")
def test_model_is_told(env, row):
    def show(seconds):
        return "never" if seconds is None else f"after {max(0, seconds):.1f} s"

    bare = _model_hears(env, env.bare)
    row.bare = show(bare)
    if bare is None:
        assert env.key[:2] < ABORTS_FROM, "the bare gateway let the run go on, which this release should not"
        raise NotAvailable("this release finishes a run whose client has left")
    through = _model_hears(env, env.through)
    row.through = show(through)
    assert through is not None and through <= 2, f"the model was told {row.through}"


@case("hangup.connection-closed")
def test_gateway_connection_closes(env, row):
    if not Path("/proc/net/tcp").exists():
        raise NotAvailable("a process's connections can be seen on Linux only")
    side, pid, port = env.through, env.shim.child.pid, env.gateway.port
    row.bare = "-"
    until(lambda: not _connections(pid, port), 15, "idle connections to the gateway close")
    with slow_model(env):
        with open_stream(side):
            assert _connections(pid, port) == 1, f"{_connections(pid, port)} connections for one stream"
        left = time.monotonic()
        until(lambda: not _connections(pid, port), 3, "the connection to the gateway closes", every=0.02)
        row.through = f"after {time.monotonic() - left:.1f} s"


def _connections(pid, port):
    """How many established connections the process has to the port."""
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(entry.path)))
        except FileNotFoundError:
            continue
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            established = fields[3] == "01" and fields[2].endswith(f":{port:04X}")
            count += established and fields[9] in inodes
    return count
