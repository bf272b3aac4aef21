"""A client that hangs up in the middle of a stream."""

import os
import re
import time
from pathlib import Path

from tests.e2e.base import Miss, NotAvailable, case
from tests.support.clients import Curl, content_times
from tests.support.procs import Timeout, until

BODY = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}], "stream": True}
SCOPES = [("x-openclaw-scopes", "operator.read,operator.write")]
PAUSE = 1.0
ABORTS_FROM = (2026, 6)


def open_stream(side):
    """A stream of which the first word has come."""
    curl = Curl(f"{side.url}/v1/chat/completions", side.owner + SCOPES, BODY)
    came = curl.read(lambda lines: content_times([(at, line[5:].strip()) for at, line in lines
                                                  if line.startswith("data: {")]), 90)
    if not came or curl.ended:
        text = curl.text()[-300:]
        curl.close()
        raise Miss(f"the stream did not begin: {text}")
    return curl


class slow_model:
    """The model takes its time, and what it began is over when the block is left."""

    def __init__(self, ctx):
        self.model = ctx.model

    def __enter__(self):
        self.before, self.model.pause = self.model.pause, PAUSE

    def __exit__(self, *_error):
        self.model.pause = self.before
        until(lambda: all(call.done for call in self.model.calls), 30, "the model's calls end")


def _model_hears(ctx, side):
    """Seconds until the model's connection was closed, or None if it was let run."""
    with slow_model(ctx):
        with open_stream(side):
            call = ctx.model.calls[-1]
        left = time.monotonic()
        try:
            until(lambda: call.hung_up_at or call.done, 3, "the model is told", every=0.02)
        except Timeout:
            return None
    return call.hung_up_at - left if call.hung_up_at else None


@case("hangup.model-told")
def model_is_told(ctx, row):
    def show(seconds):
        return "never" if seconds is None else f"after {max(0, seconds):.1f} s"

    bare = _model_hears(ctx, ctx.bare)
    row.bare = show(bare)
    if bare is None:
        row.need(ctx.key[:2] < ABORTS_FROM, "the bare gateway let the run go on, which this release should not")
        raise NotAvailable("this release finishes a run whose client has left")
    through = _model_hears(ctx, ctx.through)
    row.through = show(through)
    row.need(through is not None and through <= 2, f"the model was told {row.through}")


@case("hangup.connection-closed")
def gateway_connection_closes(ctx, row):
    if not Path("/proc/net/tcp").exists():
        raise NotAvailable("a process's connections can be seen on Linux only")
    side, pid, port = ctx.through, ctx.shim.child.pid, ctx.gateway.port
    row.bare = "-"
    until(lambda: not _connections(pid, port), 15, "idle connections to the gateway close")
    with slow_model(ctx):
        with open_stream(side):
            row.need(_connections(pid, port) == 1, f"{_connections(pid, port)} connections for one stream")
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
