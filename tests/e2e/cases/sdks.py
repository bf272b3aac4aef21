"""The real OpenAI SDKs, used as people use them."""

from base import NotAvailable, case
from model import TEXT

EXPECTED = {
    "chat": lambda got: got.strip() == TEXT,
    "stream": lambda got: got.strip() == TEXT,
    "responses": lambda got: got.strip() == f"response.completed: {TEXT}",
    "models": lambda got: "openclaw" in got and not got.startswith("error"),
}


def _add(language, call, fits):
    @case(f"sdk-{language}.{call}")
    def run(ctx, row):
        if call == "models" and ctx.key < (2026, 3, 24):
            raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
        row.bare = ctx.sdk(language, "bare")[call][:120]
        got = ctx.sdk(language, "through")[call]
        row.through = got[:120]
        row.need(fits(got), f"got {got[:300]}")


for _language in ("py", "js"):
    for _call, _fits in EXPECTED.items():
        _add(_language, _call, _fits)
