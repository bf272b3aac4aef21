"""JWTs from libraries that have nothing to do with the one under test, and a real OpenID provider."""

import base64
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from tests.support import install, procs

HERE = Path(__file__).resolve().parent
HMAC = ["HS256", "HS384", "HS512"]
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", *HMAC]
ISS = "https://issuer.example"
HMAC_ISS = "https://hmac.example"
FULL = "operator.read operator.write"


def _run(command, asked):
    env = {"PATH": os.environ.get("PATH", ""), "JOSE_FOLDER": str(install.jose())}
    done = procs.run([str(part) for part in command], env, 120, json.dumps(asked))
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{command[-1].name} ended with {done.returncode}: {done.stderr[-600:]}") from None


class Made:
    """Keys of one run and tokens by PyJWT and jose, for two issuers: one with public keys, one with a secret."""

    def __init__(self, node, scope=FULL):
        self.secret = secrets.token_hex(40)
        said = {"aud": "openclaw", "sub": "alice", "exp": int(time.time()) + 3600, "iat": int(time.time()), "scope": scope}
        claims = {"asymmetric": {**said, "iss": ISS}, "hmac": {**said, "iss": HMAC_ISS}}
        asked = {"algorithms": ALGORITHMS, "claims": claims, "secret": self.secret}
        self._made = _run([install.pyjwt(), HERE / "jwt_tokens.py"], asked)
        pems = self._made["pem"]
        kinds = {"RS": "rsa", "PS": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed"}
        wanted = {}
        for alg in ALGORITHMS:
            kid = next((kind for prefix, kind in kinds.items() if alg.startswith(prefix)), None)
            wanted[alg] = [pems[kid], kid, claims["asymmetric"]] if kid else [self.secret, "shared", claims["hmac"]]
        self.jose = _run([node, HERE / "jose_tokens.mjs"], wanted)
        self.pyjwt = self._made["tokens"]
        self.expired, self.forged = self._made["expired"], self._made["forged"]

    def tables(self, folder):
        """The configuration that accepts them; its files go into the folder."""
        jwks, secret = Path(folder) / "jwks.json", Path(folder) / "hmac.secret"
        jwks.write_text(json.dumps(self._made["jwks"]))
        secret.touch(mode=0o600)
        secret.write_text(self.secret)
        return "\n".join([
            "", "[[issuer]]", 'name = "asymmetric"', f'issuer = "{ISS}"', 'audiences = ["openclaw"]',
            f"keys = {{ jwks_file = {json.dumps(str(jwks))} }}",
            "", "[[issuer]]", 'name = "hmac"', f'issuer = "{HMAC_ISS}"', 'audiences = ["openclaw"]',
            f"keys = {{ secret_file = {json.dumps(str(secret))} }}", f"algorithms = {json.dumps(HMAC)}", ""])


class Provider:
    """The npm package oidc-provider, with one client."""

    def __init__(self, node, folder):
        self._id, self._secret = "openclaw-client", secrets.token_urlsafe(32)
        self._log = Path(folder) / "oidc.log"
        env = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "JOSE_FOLDER": str(install.jose()),
               "CLIENT_ID": self._id, "CLIENT_SECRET": self._secret}
        self._child = procs.Child([node, HERE / "oidc_provider.mjs"], self._log, env, folder)
        try:
            self.issuer = procs.until(self._listens, 60, "the OpenID provider listens")
        except procs.Timeout as err:
            self.stop()
            raise RuntimeError(f"{err}\n{self._child.tail()}") from err

    def _listens(self):
        if not self._child.alive():
            raise RuntimeError(f"the OpenID provider ended:\n{self._child.tail()}")
        return next((line for line in self._log.read_text().splitlines() if line.startswith("http://127.0.0.1:")), None)

    def token(self, scope=FULL, alg="RS256"):
        """A token by the client_credentials grant, as a machine gets one."""
        form = urlencode({"grant_type": "client_credentials", "scope": scope, "resource": f"urn:openclaw:{alg}"})
        basic = base64.b64encode(f"{self._id}:{self._secret}".encode()).decode()
        request = urllib.request.Request(f"{self.issuer}/token", form.encode(), {"authorization": f"Basic {basic}"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=30) as answer:
                return json.load(answer)["access_token"]
        except urllib.error.HTTPError as err:
            raise RuntimeError(f"the OpenID provider gives no token: {err.code} {err.read()[:300]!r}") from err

    def table(self):
        """Nothing but its name and the audience: the keys are found by discovery."""
        return f'\n[[issuer]]\nname = "oidc"\nissuer = "{self.issuer}"\naudiences = ["openclaw"]\ntyp = ["at+jwt"]\n'

    def stop(self):
        self._child.kill()
