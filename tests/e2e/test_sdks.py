"""The real OpenAI SDKs, used as people use them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.environment import case
from tests.support import clients, shim
from tests.support.fake_model import TEXT
from tests.support.outcomes import NotAvailable

EXPECTED = {
    "chat": lambda got: got.strip() == TEXT,
    "stream": lambda got: got.strip() == TEXT,
    "responses": lambda got: got.strip() == f"response.completed: {TEXT}",
    "models": lambda got: "openclaw" in got and not got.startswith("error"),
}


LANGUAGES = ("py", "js")


LIMITED = """
[[grant]]
to = { token = "open-webui" }
limits = { requests_per_minute = 10, burst = 1, concurrent_streams = 1 }
"""


@case("sdk-{language}.waits")
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_sdk_waits_as_it_is_told(env, row, language):
    """Over its limit a caller is answered 429; the SDK waits as it is told, tries again and succeeds.

    Left to itself an SDK would try again after 0.5 s and 1 s: it gets through only by the Retry-After of up to 6 s.
    """
    if env.mode.name != "token":
        raise NotAvailable("limits are counted before the mode matters: tried in mode token")
    row.bare = "knows no limits"
    hasty, patient = env.once("sdk-waits", _both_languages)[language].result()
    row.through = f"{sum('429' in text for text in hasty.values())} calls told to wait"
    assert any(text.startswith("error 429") for text in hasty.values()), f"without retries: {hasty}"
    for call in ("chat", "stream", "responses"):
        assert EXPECTED[call](patient[call]), f"{call} got {patient[call][:300]}"


def _both_languages(env):
    """They wait most of the time: both at once, each before a scopeshim of its own with limits of its own."""
    def act(language):
        with env.other_shim(LIMITED) as side:
            token = shim.TOKENS["open-webui"]
            return (clients.sdk(language, side.url, token, env.gateway.node),
                    clients.sdk(language, side.url, token, env.gateway.node, retries=2))

    assert env.gateway.running
    with ThreadPoolExecutor() as pool:
        return {language: pool.submit(act, language) for language in LANGUAGES}


@case("sdk-{language}.{call}")
@pytest.mark.parametrize("call", EXPECTED)
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_sdk_s_call(env, row, language, call):
    if call == "models" and env.key < (2026, 3, 24):
        raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
    row.bare = env.sdk(language, "bare")[call][:120]
    got = env.sdk(language, "through")[call]
    row.through = got[:120]
    assert EXPECTED[call](got), f"got {got[:300]}"
