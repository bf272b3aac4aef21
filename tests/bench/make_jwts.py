"""Makes keys and tokens; runs with the interpreter that has PyJWT. Asked on standard input, in JSON."""

import base64
import json
import secrets
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

asked = json.load(sys.stdin)
folder = Path(asked["folder"])
keys = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
secret = secrets.token_hex(32)
file = folder / "hmac.secret"
file.touch(mode=0o600)
file.write_text(secret)


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value, size):
    return b64(value.to_bytes(size, "big"))


rs, es = keys["RS256"].public_key().public_numbers(), keys["ES256"].public_key().public_numbers()
ed = keys["EdDSA"].public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
(folder / "jwks.json").write_text(json.dumps({"keys": [
    {"kty": "RSA", "kid": "RS256", "n": number(rs.n, 256), "e": number(rs.e, 3)},
    {"kty": "EC", "kid": "ES256", "crv": "P-256", "x": number(es.x, 32), "y": number(es.y, 32)},
    {"kty": "OKP", "kid": "EdDSA", "crv": "Ed25519", "x": b64(ed)},
]}))
for name in ("RS256", "ES256"):
    public = keys[name].public_key()
    (folder / f"{name}.pem").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
for algorithm in asked["algorithms"]:
    key = keys.get(algorithm, secret)
    header = {"kid": algorithm} if algorithm in keys else None
    claims = {"iss": asked["issuer" if algorithm in keys else "hmac_issuer"], "aud": asked["audience"],
              "exp": int(time.time()) + 6 * 3600, "iat": int(time.time()), "scope": asked["scope"]}
    with open(folder / f"{algorithm}.tokens", "w") as out:
        for count in range(asked["many"]):
            claims.update(sub=f"person-{count}", jti=secrets.token_hex(8))
            out.write(jwt.encode(claims, key, algorithm=algorithm, headers=header) + "\n")
