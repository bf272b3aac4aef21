"""Keys, a JWKS, and tokens made by PyJWT; runs with the interpreter that has it.

Reads {"claims": …, "secret": …} from standard input. Writes the JWKS, the private keys in PEM and one token
for each algorithm.
"""

import base64
import json
import sys

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

asked = json.load(sys.stdin)


def b64(number, size=None):
    size = size or (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def public(kid, key):
    numbers = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = numbers.public_numbers()
        return {"kty": "RSA", "kid": kid, "n": b64(numbers.n), "e": b64(numbers.e)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        numbers = numbers.public_numbers()
        return {"kty": "EC", "kid": kid, "crv": f"P-{key.curve.key_size}", "x": b64(numbers.x, size),
                "y": b64(numbers.y, size)}
    raw = numbers.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(int.from_bytes(raw, "big"), 32)}


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


keys = {
    "rsa": rsa.generate_private_key(65537, 3072),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
kinds = {"RS": "rsa", "PS": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed"}
tokens = {}
for alg in asked["algorithms"]:
    kid = next((kind for prefix, kind in kinds.items() if alg.startswith(prefix)), None)
    key = keys[kid] if kid else asked["secret"]
    claims = asked["claims"]["asymmetric" if kid else "hmac"]
    tokens[alg] = jwt.encode(claims, key, algorithm=alg, headers={"kid": kid} if kid else None)
expired = dict(asked["claims"]["asymmetric"], exp=1_000_000_000)
print(json.dumps({
    "jwks": {"keys": [public(kid, key) for kid, key in keys.items()]},
    "pem": {kid: pem(key) for kid, key in keys.items()},
    "tokens": tokens,
    "expired": jwt.encode(expired, keys["p256"], algorithm="ES256", headers={"kid": "p256"}),
    "forged": jwt.encode(asked["claims"]["asymmetric"], ec.generate_private_key(ec.SECP256R1()), algorithm="ES256",
                         headers={"kid": "p256"}),
}))
