"""What all the cases before left in scopeshim's logs."""

from tests.e2e.base import case
from tests.support.shim import TOKENS


@case("logs.no-secrets")
def no_secret_in_logs(ctx, row):
    ctx.mirror
    secrets = {**TOKENS, **{"the gateway's secret": secret for secret in ctx.mode.hidden}}
    text = "".join(log.read_text("utf-8", "replace") for log in ctx.folder.glob("*/scopeshim.log"))
    found = [name for name, secret in secrets.items() if secret and secret in text]
    row.through = f"found: {', '.join(found)}" if found else f"none in {len(text.splitlines())} lines"
    row.need(not found, row.through)
