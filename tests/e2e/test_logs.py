"""What all the cases before left in scopeshim's logs."""

from tests.e2e.environment import case
from tests.support.shim import TOKENS


@case("logs.no-secrets")
def test_no_secret_in_logs(env, row):
    assert env.mirror, "a proxy in front of something that is no gateway"
    secrets = {**TOKENS, **{f"the gateway's secret {number}": secret for number, secret in enumerate(env.mode.hidden)}}
    text = "".join(log.read_text("utf-8", "replace") for log in env.folder.glob("*/scopeshim.log"))
    found = [name for name, secret in secrets.items() if secret and secret in text]
    row.through = f"found: {', '.join(found)}" if found else f"none in {len(text.splitlines())} lines"
    assert not found, row.through
