"""Start and stop one real gateway release in a folder of its own."""

import json
import os
import socket
from pathlib import Path

from tests.support import clients, install, procs

START_SECONDS = 180


class Gateway:
    def __init__(self, release, mode, model_port, folder, endpoints=True):
        self.release = release
        self.mode = mode
        self.folder = Path(folder)
        self.port = procs.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.installed = install.gateway(release)
        self.node = install.node_for(self.installed)
        self.child = None
        self.starts = 0
        self._write_config(model_port, endpoints)

    @property
    def running(self):
        return self.child is not None and self.child.alive()

    @property
    def config(self):
        return self.folder / "openclaw.json"

    @property
    def _env(self):
        return {
            "PATH": f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp"), "NO_COLOR": "1",
            "OPENCLAW_STATE_DIR": str(self.folder / "state"), "OPENCLAW_CONFIG_PATH": str(self.config),
            "OPENCLAW_SKIP_CHANNELS": "1",
            # 2026.4.24 fetches its plugins' dependencies at the start; it does without, but waits long for them.
            "npm_config_offline": "true",
        }

    @property
    def _program(self):
        return [self.node, self.installed / "node_modules/openclaw/openclaw.mjs"]

    def cli(self, *words):
        """The release's own command line, as `openclaw WORDS`."""
        return procs.run([str(part) for part in [*self._program, *words]], self._env, 120)

    def start(self):
        self.starts += 1
        self.child = procs.Child([*self._program, "gateway"], self.folder / "gateway.log", self._env, self.folder)
        try:
            procs.until(self._ready, START_SECONDS, f"gateway {self.release} ready", every=0.5)
        except procs.Timeout as err:
            raise RuntimeError(f"{err}\n{self.child.tail()}") from err

    def stop(self):
        if self.child:
            self.child.kill()
            self.child = None
            # The listening process may be a grandchild that takes a moment longer to die.
            procs.until(self._refuses, 10, f"gateway {self.release} gone", every=0.02)

    def tail(self):
        log = self.folder / "gateway.log"
        if not log.exists():
            return ""
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])

    def _refuses(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return True
        return False

    def _ready(self):
        if not self.child.alive():
            raise RuntimeError(f"gateway {self.release} ended at its start:\n{self.child.tail()}")
        try:
            # The API routes open later than /healthz on some releases, and on others the
            # gateway is busy for a while after they do.
            models = clients.request("GET", f"{self.url}/v1/models", [
                *self.mode.bare_headers, ("x-openclaw-scopes", "operator.read")], seconds=30)
            ready = clients.request("GET", f"{self.url}/readyz", seconds=30)
        except OSError:
            return False
        return models.status == 200 and ready.status != 503

    def _write_config(self, model_port, endpoints):
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        (self.folder / "ws").mkdir(exist_ok=True)
        free = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
        config = {
            "gateway": {
                "mode": "local", "port": self.port, "bind": "loopback", "auth": self.mode.gateway_auth,
                **self.mode.gateway_extra,
            },
            "models": {"providers": {"mock": {
                "baseUrl": f"http://127.0.0.1:{model_port}/v1", "apiKey": "x", "api": "openai-completions",
                "models": [{"id": "mock", "name": "mock", "reasoning": False, "input": ["text"], "cost": free,
                            "contextWindow": 128000, "maxTokens": 4096}],
            }}},
            "agents": {"defaults": {"model": {"primary": "mock/mock"}, "workspace": str(self.folder / "ws")}},
        }
        if endpoints:
            enabled = {"chatCompletions": {"enabled": True}, "responses": {"enabled": True}}
            config["gateway"]["http"] = {"endpoints": enabled}
        self.config.write_text(json.dumps(config, indent=1))
        self.config.chmod(0o600)
