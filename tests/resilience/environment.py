"""Configurations in which scopeshim is started, stopped and started again, before a fake gateway."""

import hashlib
import os
import secrets
from pathlib import Path

from tests.resilience import manager
from tests.resilience.load import request
from tests.support import procs


class Environment:
    """`held`: the service manager holds the listening socket, as with scopeshim.socket."""

    def __init__(self, binary, folder, gateway, held=False, server="", more=""):
        self.binary, self.folder, self.gateway = binary, Path(folder), gateway
        self.folder.mkdir(parents=True)
        self.token = f"scs-{secrets.token_hex(20)}"
        self.manager = manager.Manager(self.folder, held)
        self.port = self.manager.port
        secret = self.folder / "gateway.token"
        secret.touch(mode=0o600)
        secret.write_text(gateway.secret)
        self.state = self.folder / "state"
        self.config = self.folder / "config.toml"
        self.config.write_text(self.text(server, more))

    def text(self, server="", more=""):
        return f"""[[listen]]
address = "127.0.0.1:{self.port}"

[gateway]
url = "http://127.0.0.1:{self.gateway.port}"
auth = {{ kind = "token", file = "{self.folder}/gateway.token" }}
probe = false

[server]
state_dir = "{self.state}"
{server}

[[token]]
name = "client"
sha256 = "{hashlib.sha256(self.token.encode()).hexdigest()}"
scopes = ["operator.read", "operator.write"]
{more}"""

    def start(self, **how):
        """A process, once it says that it serves."""
        return self.manager.start([self.binary, "run", "--config", self.config], **how)

    def ask(self, token=None, **how):
        """The status of a plain request."""
        return request(self.port, token or self.token, **how).status

    def command(self, *words):
        """A command of the program on this configuration: its exit code and its words."""
        env = {**os.environ, "RUNTIME_DIRECTORY": str(self.manager.runtime("a"))}
        done = procs.run([str(self.binary), *words, "--config", str(self.config)], env, 30)
        return done.returncode, done.stdout + done.stderr

    def close(self):
        self.manager.close()
