"""What a test run starts ends with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import procs

STARTS = """
import sys, time
from tests.support import procs
child = procs.Child(["sleep", "600"], sys.argv[1])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_run_that_is_killed_leaves_no_process(tmp_path):
    run = subprocess.Popen([sys.executable, "-c", STARTS, tmp_path / "log"], stdout=subprocess.PIPE, text=True,
                           cwd=Path(__file__).resolve().parents[2])
    try:
        child = int(run.stdout.readline())
        os.kill(child, 0)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait(10)
        run.stdout.close()

    def gone():
        try:
            # A zombie is nobody's process any more.
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    procs.until(gone, 10, "the child's end", every=0.02)
