"""The real OpenAI SDKs, used as people use them."""

import clients
import shim
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


def _waits(language):
    @case(f"sdk-{language}.waits")
    def run(ctx, row):
        """Over its limit a caller is answered 429; the SDK waits as it is told, tries again and succeeds."""
        row.bare = "knows no limits"
        extra = ('\n[[grant]]\nto = { token = "open-webui" }\n'
                 "limits = { requests_per_minute = 6, burst = 1, concurrent_streams = 1 }\n")
        token = shim.TOKENS["open-webui"]
        with ctx.other_shim(extra) as side:
            hasty = clients.sdk(language, side.url, token, ctx.gateway.node)
            patient = clients.sdk(language, side.url, token, ctx.gateway.node, retries=8)
        row.through = f"{sum('429' in text for text in hasty.values())} calls told to wait"
        row.need(any(text.startswith("error 429") for text in hasty.values()), f"without retries: {hasty}")
        for call in ("chat", "stream", "responses"):
            row.need(EXPECTED[call](patient[call]), f"{call} got {patient[call][:300]}")


for _language in ("py", "js"):
    _waits(_language)
    for _call, _fits in EXPECTED.items():
        _add(_language, _call, _fits)
