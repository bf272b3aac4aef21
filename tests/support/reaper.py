"""Ends what a test run started when the run itself is gone, however it went: killed workers of pytest-xdist too.

Reads from standard input `+PID` and `-PID`; at its end, all that are left are killed, with the groups they lead.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path


def began(pid):
    """When the process began: a number that is used again does not name it. None where there is no /proc, or no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = {}
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            left[pid] = began(pid)
        else:
            left.pop(pid, None)
    for pid, moment in left.items():
        # Its group may outlive it; the number names nobody else as long as the group is there.
        if began(pid) in (moment, None):
            for end in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    end(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
