"""What docs/clients says of each client, run with that client."""

import shutil

import pytest

from tests.e2e import client_pages
from tests.e2e.environment import case
from tests.support import procs
from tests.support.fake_model import TEXT
from tests.support.outcomes import NotAvailable
from tests.support.shim import TOKENS, bearer

PAGES = ("curl", "openai", "langchain", "llm", "openai-agents", "pydantic-ai", "ai-sdk")
TRIED = [(page, number) for page in PAGES for number, _ in enumerate(client_pages.blocks(page)[0], 1)]


def _once(env):
    """What a client sends and is answered is the same in every mode; test_sdks compares the modes."""
    if env.mode.name != "token":
        raise NotAvailable("the lines of a page do not depend on the mode: tried in mode token")


def _run(env, page, block, token):
    _once(env)
    return client_pages.execute(page, block, env.through.url, token, env.gateway.node)


def _fits(block, said):
    return {"chat": TEXT, "models": "openclaw"}[block.kind] in said


@case("page.{page}.{number}")
@pytest.mark.parametrize(("page", "number"), TRIED)
def test_the_lines_of_a_page(env, row, page, number):
    block = client_pages.blocks(page)[0][number - 1]
    if env.key < (2026, 3, 24) and block.kind == "models":
        raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
    said = _run(env, page, block, TOKENS["open-webui"])
    row.through = said[:120]
    if not block.works_on(env.release):
        assert not _fits(block, said), "it works on this release too, and the page says that it does not"
        raise NotAvailable(f"the page says so: {said[-120:]}")
    assert _fits(block, said), f"got {said[-400:]}"


@case("page.{page}.refused")
@pytest.mark.parametrize("page", PAGES)
def test_a_refusal_as_the_page_shows_it(env, row, page):
    tried, expected = client_pages.blocks(page)
    said = _run(env, page, next(block for block in tried if block.kind == "chat"), TOKENS["reader"])
    row.through = said[-200:]
    assert expected in said, f"{expected!r} is not in {said[-600:]!r}"


@case("page.browser")
def test_a_page_of_another_origin(env, row):
    """In a real browser: the OpenAI SDK, fetch with its stream, a WebSocket."""
    _once(env)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium:
        pytest.skip("no chromium here")
    block = client_pages.blocks("browser")[0][0]

    def look(extra, port):
        with env.other_shim(extra) as side:
            return client_pages.browser(port, side.url, TOKENS["open-webui"], chromium, env.gateway.node, block.text)

    # The first chat of a gateway takes its time.
    assert env.through.chat(who=bearer("open-webui")).status == 200, "no chat without a browser"
    port = procs.free_port()
    origin = f"http://localhost:{port}"
    closed = look("", port)
    row.bare = "no page of another origin"
    assert TEXT not in closed["text"] and any("CORS" in line for line in closed["console"]), f"without [cors]: {closed}"
    assert all("failed" in str(given) for given in closed["calls"].values()), f"without [cors]: {closed['calls']}"
    seen = look(f'\n[cors]\norigins = ["{origin}"]\n[websocket]\norigins = ["{origin}"]\n', port)
    calls = seen["calls"]
    assert TEXT in " ".join(seen["text"].split()), f"the SDK: {seen}"
    assert calls["wrong"].get("code") == "credential_unknown" and calls["wrong"]["id"], f"a refusal: {calls['wrong']}"
    assert calls["included"] == 200, f"with credentials: {calls['included']}"
    assert calls["pieces"].get("count", 0) > 1, f"a stream: {calls['pieces']}"
    assert env.mode.name == "trusted-proxy" or calls["socket"].get("ok"), f"a WebSocket: {calls['socket']}"
    anybody = look('\n[cors]\norigins = ["*"]\n', port)["calls"]
    assert anybody["wrong"].get("code") == "credential_unknown", f"any page: {anybody}"
    assert "failed" in str(anybody["included"]), f"any page, with credentials of the browser: {anybody['included']}"
    assert "failed" in anybody["socket"], f"any page, a WebSocket: {anybody['socket']}"
    row.through = f"SDK, fetch, {calls['pieces']['count']} pieces, WebSocket: {calls['socket'].get('protocol')}"
