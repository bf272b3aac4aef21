"""A program in a terminal of its own: what it shows, and keys typed into it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from tests.support import procs

ESCAPES = re.compile(r"\x1b\[[0-9;?>=<]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_=>()].?")


class Terminal:
    def __init__(self, command, env, cwd, rows=40, columns=160):
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=side, stdout=side, stderr=side, start_new_session=True,
            env={**env, "TERM": "xterm-256color"}, cwd=cwd)
        os.close(side)
        procs.adopt(self._process)
        self._seen = b""

    def type(self, keys):
        os.write(self._main, keys.encode())

    def text(self):
        """All that was shown so far, without colours and movements."""
        return " ".join(ESCAPES.sub(" ", self._seen.decode("utf-8", "replace")).split())

    def until(self, words, seconds):
        """Whether these words appear in time; False too when the program ends without them."""
        deadline = time.monotonic() + seconds
        while words not in self.text():
            ready, _, _ = select.select([self._main], [], [], max(0, min(1, deadline - time.monotonic())))
            if ready:
                try:
                    piece = os.read(self._main, 65536)
                except OSError:
                    return words in self.text()
                self._seen += piece
            elif time.monotonic() > deadline:
                return False
        return True

    def close(self):
        self._process.kill()
        self._process.wait(10)
        os.close(self._main)
        with contextlib.suppress(ValueError):
            procs.disown(self._process)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
