"""One scopeshim with every sort of caller, a fake model in the place of the gateway behind it, and what it ever wrote."""

import base64
import hashlib
import hmac
import json
import secrets
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support import clients, fake_model as model, modes, procs, shim

ISS = "https://people.example"


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Keys:
    """An issuer's key server. Nobody signs with its key; what counts is when it was fetched."""

    def __init__(self):
        modulus = secrets.randbits(2048) | 1 << 2047 | 1
        key = {"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "e": "AQAB", "n": _b64(modulus.to_bytes(256, "big"))}
        body = json.dumps({"keys": [key]}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Harnesses:
    """Every one that was started, and what people saw elsewhere than in a process's own output: pages, answers, terminals."""

    def __init__(self, binary, folder):
        self._binary, self._folder = binary, folder
        self.all, self.seen = [], []

    def new(self, **how):
        made = Harness(self._binary, self._folder / f"harness-{len(self.all)}", **how)
        self.all.append(made)
        return made

    def close(self):
        for each in self.all:
            each.close()


class Harness:
    """`without_keys` adds an issuer whose keys cannot be had, so the process is not ready."""

    def __init__(self, binary, folder, level="info", without_keys=False):
        self.binary, self.folder = binary, Path(folder)
        self.folder.mkdir(parents=True)
        self.model, self.keys, self.mode = model.Model(pause=0.05), Keys(), modes.make("token", "2026.9.6")
        self.hmac = secrets.token_hex(40)
        self.passing = f"passing-{secrets.token_hex(20)}"
        # Everything that must never be written by the process; whoever makes another one adds it.
        self.secrets = [self.mode.secret, self.hmac, self.passing, *shim.TOKENS.values()]
        self.admin = f"http://127.0.0.1:{procs.free_port()}"
        self.shim = shim.Shim(binary, self.mode, f"http://127.0.0.1:{self.model.port}", self.folder / "shim",
                              self._more(level, without_keys))
        self.url, self.config = self.shim.url, self.folder / "shim" / "scopeshim.toml"
        self.good = self.config.read_text()

    def _more(self, level, without_keys):
        file = self.folder / "hmac.secret"
        file.touch(mode=0o600)
        file.write_text(self.hmac)
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5 * 86400))
        text = f"""
[admin]
address = "{self.admin.removeprefix('http://')}"
[log]
level = "{level}"
[anonymous]
scopes = []
[policy]
limits = {{ requests_per_minute = 1000000, concurrent_streams = 1000 }}
[[token]]
name = "passing"
sha256 = "{hashlib.sha256(self.passing.encode()).hexdigest()}"
scopes = ["operator.read"]
expires = {soon}
[[issuer]]
name = "people"
issuer = "{ISS}"
audiences = ["openclaw"]
keys = {{ secret_file = "{file}" }}
name_claim = "preferred_username"
[[issuer]]
name = "fetched"
issuer = "https://fetched.example"
audiences = ["openclaw"]
keys = {{ url = "{self.keys.url}" }}
"""
        if without_keys:
            text += f"""[[issuer]]
name = "silent"
issuer = "https://silent.example"
audiences = ["openclaw"]
keys = {{ url = "http://127.0.0.1:{procs.free_port()}/none" }}
"""
        return text

    def jwt(self, name="alice", scope="operator.read", valid=3600, key=None):
        said = {"iss": ISS, "aud": "openclaw", "sub": name, "preferred_username": name, "scope": scope,
                "iat": int(time.time()) - 60, "exp": int(time.time()) + valid}
        parts = ({"alg": "HS256", "typ": "JWT"}, said)
        signed = ".".join(_b64(json.dumps(part).encode()) for part in parts)
        signature = _b64(hmac.digest((key or self.hmac).encode(), signed.encode(), "sha256"))
        self.secrets += [f"{signed}.{signature}", signature]
        return f"{signed}.{signature}"

    def secret(self, what):
        """A string that the process sees and must not write."""
        made = f"{what}-{secrets.token_hex(16)}"
        self.secrets.append(made)
        return made

    def ask(self, path="/v1/models", token=None, headers=(), body=None):
        method = "GET" if body is None else "POST"
        bearer = [("authorization", f"Bearer {token}")] if token else []
        return clients.request(method, self.url + path, [*bearer, *headers], body)

    def status(self):
        return clients.request("GET", f"{self.admin}/status", [("accept", "application/json")]).json()

    def metrics(self):
        return clients.request("GET", f"{self.admin}/metrics").body.decode()

    def reload(self, text):
        """Puts a configuration in place and waits for the verdict."""
        self.config.write_text(text)
        done = subprocess.run([self.binary, "reload", "--config", self.config], timeout=30, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout

    def restart_gateway(self, port):
        """The upstream at the same address again, after it was stopped."""
        self.model = model.Model(pause=0.05, port=port)

    def wrote(self):
        return self.shim.child.log.read_text("utf-8", "replace")

    def close(self):
        self.shim.stop()
        self.model.stop()
        self.keys.stop()
