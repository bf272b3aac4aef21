"""What an authentication mode of the gateway means to the gateway, the proxy and a bare client."""

import secrets
from dataclasses import dataclass, field

KNOWN = ("token", "password", "none")


@dataclass
class Mode:
    name: str
    gateway_auth: dict
    # The gateway's own secret; None where the mode has none.
    secret: str | None = None
    # What a client without the proxy has to send.
    bare_headers: list = field(default_factory=list)


def make(name):
    secret = f"gateway-{name}-{secrets.token_hex(16)}"
    bearer = [("authorization", f"Bearer {secret}")]
    if name == "token":
        return Mode(name, {"mode": "token", "token": secret}, secret, bearer)
    if name == "password":
        return Mode(name, {"mode": "password", "password": secret}, secret, bearer)
    if name == "none":
        return Mode(name, {"mode": "none"})
    raise ValueError(f"unknown mode {name!r}")
