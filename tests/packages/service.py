"""The installed service: where its files are, whether it serves, and clients that call it without end."""

import json
import time
from pathlib import Path

from tests.support import procs

HERE = Path(__file__).resolve().parent
CONFIG = "/etc/scopeshim/config.toml"
SECRET = "/etc/scopeshim/gateway.token"
UNITS = ("scopeshim.service", "scopeshim.socket")


def bearer(token):
    return ["-H", f"authorization: Bearer {token}"]


def need_serving(machine, token):
    status, body = machine.ask("/v1/models", *bearer(token))
    assert status == 200 and '"openclaw"' in body, f"/v1/models answers {status}: {body}\n{machine.journal()}"


def need_serving_soon(machine, dist):
    procs.until(lambda: machine.ask("/v1/models", *bearer(dist.secret))[0] == 200, 10, "an answer")


class Callers:
    """New connections, one after the other, while something happens."""

    def __init__(self, machine, dist):
        self._log = machine.folder / f"callers-{time.monotonic_ns()}.log"
        self._child = machine.beside("python3", HERE / "callers.py", dist.secret, "10", log=self._log.name)
        self.wait_for(20)

    def wait_for(self, more):
        """Until so many more calls have been answered, or failed."""
        begun = self._count()
        procs.until(lambda: self._count() >= begun + more, 60, f"{more} more calls", every=0.05)

    def _count(self):
        return self._log.read_text().count("\n")

    def seen(self):
        """Ends them: what became of their connections, and the slowest answer in seconds."""
        self._child.process.terminate()
        self._child.process.wait(30)
        return json.loads(self._log.read_text().splitlines()[-1])

    def need_all_answered(self):
        said = self.seen()
        assert set(said["seen"]) == {"200"} and said["seen"]["200"] >= 50, f"new connections fared so: {said}"
        return f"{said['seen']['200']} new connections, 0 failed, the slowest {said['slowest'] * 1000:.0f} ms"
