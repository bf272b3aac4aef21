"""Keys of this run, and tokens for each algorithm, by PyJWT in a virtual environment."""

import json
import os
from pathlib import Path

from tests.bench import policies
from tests.support import install, procs

HERE = Path(__file__).resolve().parent
ALGORITHMS = ["RS256", "ES256", "HS256", "EdDSA"]


class Keys:
    """`many` different tokens for each algorithm, in files: one a line."""

    def __init__(self, folder, many):
        self.jwks, self.secret = folder / "jwks.json", folder / "hmac.secret"
        self.pems = {name: folder / f"{name}.pem" for name in ("RS256", "ES256")}
        self.files = {name: folder / f"{name}.tokens" for name in ALGORITHMS}
        self.many = many
        asked = {"algorithms": ALGORITHMS, "many": many, "folder": str(folder), "audience": policies.AUDIENCE,
                 "issuer": policies.ISSUER, "hmac_issuer": policies.HMAC_ISSUER,
                 "scope": policies.SCOPES.replace(",", " ")}
        made = procs.run([str(install.pyjwt()), str(HERE / "make_jwts.py")], dict(os.environ), 600, json.dumps(asked))
        if made.returncode != 0:
            raise RuntimeError(f"no tokens: {made.stderr[-800:]}")

    def one(self, algorithm):
        with open(self.files[algorithm]) as file:
            return file.readline().strip()
