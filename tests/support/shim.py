"""Start and stop scopeshim with a configuration written for the test."""

import hashlib
import json
import os
import secrets
from pathlib import Path

from tests.support import clients, modes, procs

START_SECONDS = 20

# Named tokens: a new string in every run, only its hash goes into the configuration.
TOKENS = {name: f"{name}-{secrets.token_hex(20)}" for name in ("reader", "open-webui", "owner")}
SCOPES = {"reader": ["operator.read"], "open-webui": ["operator.read", "operator.write"], "owner": modes.FULL}


def bearer(name):
    return [("authorization", f"Bearer {TOKENS[name]}")]


class Shim:
    """`extra` is TOML put at the end of the configuration, for cases with needs of their own."""

    def __init__(self, binary, mode, gateway_url, folder, extra="", probe=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = procs.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = self.folder / "scopeshim.toml"
        self._config.write_text(self._toml(mode, gateway_url, probe) + extra)
        self.child = procs.Child(
            [binary, "run", "--config", self._config], self.folder / "scopeshim.log",
            {**os.environ, "NO_COLOR": "1"}, self.folder)
        try:
            procs.until(self._answers, START_SECONDS, "scopeshim ready", every=0.05)
        except procs.Timeout as err:
            self.child.kill()
            raise RuntimeError(f"{err}\n{self.child.tail()}") from err

    def stop(self):
        self.child.kill(grace=2)

    def tail(self):
        return self.child.tail()

    def _answers(self):
        if not self.child.alive():
            self.child.kill()
            raise RuntimeError(f"scopeshim ended with {self.child.process.returncode}:\n{self.child.tail()}")
        try:
            clients.request("GET", f"{self.url}/healthz", seconds=5)
        except OSError:
            return False
        return True

    def _toml(self, mode, gateway_url, probe):
        auth = {"kind": mode.name}
        if mode.secret:
            file = self.folder / "gateway.secret"
            file.write_text(mode.secret)
            file.chmod(0o600)
            auth["file"] = str(file)
        inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in auth.items())
        inline = ", ".join(filter(None, [inline, mode.shim_auth]))
        lines = [
            "[[listen]]", f'address = "127.0.0.1:{self.port}"', "",
            "[gateway]", f'url = "{gateway_url}"', f"auth = {{ {inline} }}", f"probe = {json.dumps(probe)}", "",
            "[server]", f"state_dir = {json.dumps(str(self.folder / 'state'))}", "",
        ]
        if mode.secret:
            lines += ["[gateway_secret]", "accept = true", ""]
        for name, token in TOKENS.items():
            digest = hashlib.sha256(token.encode()).hexdigest()
            lines += ["[[token]]", f'name = "{name}"', f'sha256 = "{digest}"',
                      f"scopes = {json.dumps(SCOPES[name])}", ""]
        return "\n".join(lines)
