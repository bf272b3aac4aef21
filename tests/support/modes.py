"""What an authentication mode of the gateway means to the gateway, the proxy and a bare client."""

import secrets
from dataclasses import dataclass, field

from tests.support import install

KNOWN = ("token", "password", "none", "trusted-proxy")
STAND_IN = "192.0.2.1"
FULL = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"]


@dataclass(repr=False)
class Mode:
    name: str
    gateway_auth: dict
    # The gateway's own secret, which clients may hold; None where the mode has none.
    secret: str | None = None
    # What a client without the proxy has to send.
    bare_headers: list = field(default_factory=list)
    # More of the gateway's configuration.
    gateway_extra: dict = field(default_factory=dict)
    # More of the proxy's `auth`, as TOML without its braces.
    shim_auth: str = ""
    # What no log may hold.
    hidden: list = field(default_factory=list)

    def __repr__(self):
        """Without its secrets, which would end in a log."""
        return f"Mode({self.name!r})"

    def sent(self, principal):
        """The lines by which the proxy proves a principal's request, name to value."""
        if self.name == "trusted-proxy":
            return {**dict(self.bare_headers), "x-scopeshim-user": principal}
        return dict(self.bare_headers)


def why_not(name, release):
    """Why a release cannot be used in a mode from the same machine; None if it can (contract §4)."""
    key = install.release_key(release)
    if name == "trusted-proxy" and (2026, 3, 31) <= key < (2026, 4, 29):
        return "from 2026.3.31 to 2026.4.26 the gateway refuses every proxy on its own machine (openclaw #59167)"
    return None


def make(name, release):
    secret = f"gateway-{name}-{secrets.token_hex(16)}"
    bearer = [("authorization", f"Bearer {secret}")]
    if name == "token":
        return Mode(name, {"mode": "token", "token": secret}, secret, bearer, hidden=[secret])
    if name == "password":
        return Mode(name, {"mode": "password", "password": secret}, secret, bearer, hidden=[secret])
    if name == "none":
        return Mode(name, {"mode": "none"})
    if name == "trusted-proxy":
        trusted = {"userHeader": "x-scopeshim-user", "requiredHeaders": ["x-proxy-secret"]}
        if install.release_key(release) >= (2026, 4, 29):
            trusted["allowLoopback"] = True
        if install.release_key(release) >= (2026, 8):
            # Before, the gateway pairs the proxy's device as one of its own machine.
            trusted["deviceAutoApprove"] = {"enabled": True, "scopes": FULL}
        return Mode(
            name, {"mode": "trusted-proxy", "trustedProxy": trusted},
            bare_headers=[("x-scopeshim-user", "bare"), ("x-proxy-secret", secret), ("x-forwarded-for", STAND_IN)],
            gateway_extra={"trustedProxies": ["127.0.0.1", "::1"]},
            shim_auth=f'user_header = "x-scopeshim-user", required_headers = {{ "x-proxy-secret" = "{secret}" }}',
            hidden=[secret])
    raise ValueError(f"unknown mode {name!r}")
