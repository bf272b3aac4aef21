"""The refusals that each client is made to show: what is done for them, and what must be in the text."""

import hashlib
import secrets

from tests.support.shim import TOKENS

# A piece of each message; what a client shows of it and around it is the test's to see.
EXPECTED = {
    "unknown-token": "the bearer token is unknown (scopeshim)",
    "missing-scope": 'missing scope: operator.write (scopeshim: token "reader" holds operator.read)',
    "too-many": '(scopeshim: token "limited")',
    "unknown-model": "Invalid `model`",
}
WHATS = tuple(EXPECTED)
LIMITED = f"limited-{secrets.token_hex(20)}"
UNKNOWN = f"unknown-{secrets.token_hex(20)}"


# The one caller of whom the others' configuration knows nothing: one request, and the next is too many.
TABLES = f"""
[[token]]
name = "limited"
sha256 = "{hashlib.sha256(LIMITED.encode()).hexdigest()}"
scopes = ["operator.read", "operator.write"]

[[grant]]
to = {{ token = "limited" }}
limits = {{ requests_per_minute = 1, burst = 1 }}
"""


def tokens():
    """Token and model of the caller that is refused, by what is refused."""
    return {"unknown-token": (UNKNOWN, "openclaw"), "missing-scope": (TOKENS["reader"], "openclaw"),
            "too-many": (LIMITED, "openclaw"), "unknown-model": (TOKENS["open-webui"], "gpt-4o")}


def check(what, text):
    assert EXPECTED[what] in " ".join(text.split()), f"{EXPECTED[what]!r} is not in {text!r}"
