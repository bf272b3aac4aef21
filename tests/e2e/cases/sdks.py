"""The real OpenAI SDKs, used as people use them."""

from concurrent.futures import ThreadPoolExecutor

from tests.support import clients
from tests.support import shim
from tests.e2e.base import NotAvailable, case
from tests.support.fake_model import TEXT

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


LIMITED = """
[[grant]]
to = { token = "open-webui" }
limits = { requests_per_minute = 10, burst = 1, concurrent_streams = 1 }
"""


def _waits(language):
    @case(f"sdk-{language}.waits")
    def run(ctx, row):
        """Over its limit a caller is answered 429; the SDK waits as it is told, tries again and succeeds.

        Left to itself an SDK would try again after 0.5 s and 1 s: it gets through only by the Retry-After of up to 6 s.
        """
        if ctx.mode.name != "token":
            raise NotAvailable("limits are counted before the mode matters: tried in mode token")
        row.bare = "knows no limits"
        hasty, patient = ctx.once("sdk-waits", _both_languages)[language].result()
        row.through = f"{sum('429' in text for text in hasty.values())} calls told to wait"
        row.need(any(text.startswith("error 429") for text in hasty.values()), f"without retries: {hasty}")
        for call in ("chat", "stream", "responses"):
            row.need(EXPECTED[call](patient[call]), f"{call} got {patient[call][:300]}")


def _both_languages(ctx):
    """They wait most of the time: both at once, each before a scopeshim of its own with limits of its own."""
    def act(language):
        with ctx.other_shim(LIMITED) as side:
            token = shim.TOKENS["open-webui"]
            return (clients.sdk(language, side.url, token, ctx.gateway.node),
                    clients.sdk(language, side.url, token, ctx.gateway.node, retries=2))

    ctx.gateway
    with ThreadPoolExecutor() as pool:
        return {language: pool.submit(act, language) for language in ("py", "js")}


for _language in ("py", "js"):
    _waits(_language)
    for _call, _fits in EXPECTED.items():
        _add(_language, _call, _fits)
