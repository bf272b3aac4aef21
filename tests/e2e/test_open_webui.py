"""docs/clients/open-webui.md, with Open WebUI itself: through its HTTP API and in a real browser."""

import contextlib
import secrets
import threading

import pytest

from tests.e2e import refused
from tests.e2e.environment import case
from tests.e2e.open_webui import lab, page_block, shown
from tests.e2e.test_isolation import word
from tests.support import clients, install
from tests.support.fake_model import TEXT
from tests.support.shim import TOKENS

VERSIONS = pytest.mark.parametrize("version", install.OPEN_WEBUI)
NEWEST = install.OPEN_WEBUI[-1]
# By the session key of the gateway, and by a rule of scopeshim.
SESSIONS = """
[policy]
session_key = "prefix"

[sessions]
preset = "open-webui"
"""


def started(env, version):
    """As the page says: its container's variables, and a session for each chat in the way of the version."""
    at = lab(env)
    if version == NEWEST:
        server = at.server(version, TOKENS["open-webui"])
        server.connect((f"{at.url}/v1", TOKENS["open-webui"], {"headers": page_block("headers")}))
        if env.key >= (2026, 9):
            server.default_params(function_calling="legacy")
        return at, server
    return at, at.server(version, TOKENS["open-webui"], **page_block("environment"))


@case("open-webui-{version}.models")
@VERSIONS
def test_models(env, row, version):
    at, server = started(env, version)
    found = server.models()
    row.through = " ".join(found)
    assert "openclaw" in found, f"models: {found}"
    # The button beside a connection says why it shows none.
    verdict = server.verify(f"{at.url}/v1", refused.UNKNOWN)
    assert verdict.status == 401 and refused.EXPECTED["unknown-token"] in verdict.message(), f"verified: {verdict.brief()}"


@case("open-webui-{version}.chat")
@VERSIONS
def test_a_chat_that_streams(env, row, version):
    _, server = started(env, version)
    body = {"model": "openclaw", "stream": True, "messages": [{"role": "user", "content": "count to six"}]}
    with clients.Curl(f"{server.url}/api/chat/completions", [("authorization", f"Bearer {server.token}")], body) as curl:
        assert curl.read(), "no end"
        times = clients.content_times(curl.data())
        said = curl.text()
    assert curl.status == 200 and len(times) > 1, f"{curl.status}, {len(times)} pieces: {said[-400:]}"
    assert times[-1] - times[0] > 0.1, f"all pieces within {times[-1] - times[0]:.3f} s"
    row.through = f"{len(times)} pieces in {times[-1] - times[0]:.1f} s"


@case("open-webui-{version}.one-chat-one-session")
@VERSIONS
def test_one_chat_is_one_session(env, row, version):
    """What the model is shown comes from the gateway's session: each request carries its own message alone."""
    at, server = started(env, version)
    _one_session(at, server)
    row.through = "one session a chat"


def _one_session(at, server):
    chat, other, first, second = server.new_chat(), server.new_chat(), word(), word()
    for said in (first, second):
        answer, text = server.chat("openclaw", said, chat)
        assert answer.status == 200 and said in text, f"{answer.brief()} {text}"
    assert {first, second} <= shown(text), f"the second message's model was shown {text}"
    assert len(at.sessions(chat)) == 1, f"a chat is {at.sessions(chat)}"
    _, text = server.chat("openclaw", word(), other)
    assert len(shown(text)) == 1, f"another chat was shown {text}"
    return chat


@case("open-webui-{version}.title")
@VERSIONS
def test_the_prompt_for_a_title(env, row, version):
    """0.12 marks it, and the page's headers keep it out of the chat's session; 0.8 cannot, and the page says so."""
    at, server = started(env, version)
    stays_out = _title(server)
    row.through = "not in the chat's session" if stays_out else "in the chat's session, as the page says"
    assert stays_out == (version == NEWEST), row.through


def _title(server):
    chat, title = server.new_chat(), word()
    server.chat("openclaw", word(), chat)
    answer = server.title("openclaw", title, chat)
    assert answer.status == 200 and title in answer.body.decode(), f"the title: {answer.brief()}"
    _, text = server.chat("openclaw", word(), chat)
    assert len(shown(text)) >= 2, f"the chat's session was lost: {text}"
    return title not in shown(text)


@case("open-webui-{version}.sessions-table")
@VERSIONS
def test_the_sessions_table(env, row, version):
    """`[sessions] preset = "open-webui"`, with the user's headers, and in 0.12 with the task's."""
    at = lab(env)
    url = env.once("open-webui-sessions", lambda _: at.shim("open-webui-sessions", SESSIONS))
    server = at.server(version, TOKENS["open-webui"], url, ENABLE_FORWARD_USER_INFO_HEADERS="true")
    if version == NEWEST:
        server.connect((f"{url}/v1", TOKENS["open-webui"], {"headers": page_block("task")}))
        if env.key >= (2026, 9):
            server.default_params(function_calling="legacy")
    chat = _one_session(at, server)
    assert "scopeshim.token:open-webui:" in next(iter(at.sessions(chat))), f"the session's key: {at.sessions(chat)}"
    stays_out = _title(server)
    row.through = "titles apart" if stays_out else "titles in the chat, as the page says"
    assert stays_out == (version == NEWEST), row.through


@case("open-webui-{version}.page")
@VERSIONS
def test_the_page_at_two_sizes(env, row, version):
    at, server = started(env, version)
    sizes = {"desktop": (1280, 800), "phone": (390, 844)}
    asks = [{"name": f"{env.release}-{version}-{name}", "model": "openclaw", "said": "count to six", "width": width,
             "height": height, "expect": TEXT} for name, (width, height) in sizes.items()]
    seen = at.page(server, asks)
    for name, one in seen.items():
        assert one["arrived"], f"{name}: {one}"
        assert one["overflow"] <= 0, f"{name} is {one['overflow']} pixels too wide"
    row.through = f"answered at {', '.join(f'{width}x{height}' for width, height in sizes.values())}"


@case("open-webui-{version}.function-calling")
@VERSIONS
def test_function_calling(env, row, version):
    """0.12 sends tools of its own unless function calling is `legacy`; 2026.9 has one of the same name."""
    at, server = started(env, version)
    collides = version == NEWEST and env.key >= (2026, 9)
    if version == NEWEST:
        server.default_params()
    expected = "invalid tool configuration" if collides else TEXT
    try:
        seen = at.page(server, [{"name": f"{env.release}-{version}-tools", "model": "openclaw", "said": "count to six", "width": 1280,
                                 "height": 800, "expect": expected}])
    finally:
        if version == NEWEST:
            server.default_params(function_calling="legacy")
    one = next(iter(seen.values()))
    row.through = one["line"] or one["text"][-200:]
    assert one["arrived"], f"the page: {one}"


@case("refused.open-webui-{version}.{what}")
@pytest.mark.parametrize("what", refused.WHATS)
@VERSIONS
def test_a_refusal_as_the_page_shows_it(env, row, version, what):
    at, server = started(env, version)
    seen = env.once(f"open-webui-refusals-{version}", lambda _: _refusals(at, server, version, env.release))[what]
    row.through = seen["line"] or seen["text"][-300:]
    refused.check(what, row.through)


def _refusals(at, server, version, release):
    """Each with a connection of its own, whose models are named so that none is asked for them."""
    names = refused.tokens()
    url = f"{at.url}/v1"
    before = server.ask("GET", "/openai/config").json()
    extra = [(url, token, {"model_ids": [model], "prefix_id": what}) for what, (token, model) in names.items()]
    server.connect((url, TOKENS["open-webui"], before["OPENAI_API_CONFIGS"].get("0", {})), *extra)
    asks = {what: {"name": f"{release}-{version}-refused-{what}", "model": f"{what}.{model}", "said": f"hello {secrets.token_hex(2)}",
                   "width": 1280, "height": 800, "expect": refused.EXPECTED[what]} for what, (_, model) in names.items()}
    with _over_its_limit(url):
        seen = at.page(server, list(asks.values()))
    return {what: seen[ask["name"]] for what, ask in asks.items()}


@contextlib.contextmanager
def _over_its_limit(url):
    """The limited caller uses what it may have, again and again, for however long the page takes."""
    done = threading.Event()

    def use():
        while not done.wait(2):
            clients.request("GET", f"{url}/models", [("authorization", f"Bearer {refused.LIMITED}")])

    clients.request("GET", f"{url}/models", [("authorization", f"Bearer {refused.LIMITED}")])
    user = threading.Thread(target=use, daemon=True)
    user.start()
    try:
        yield
    finally:
        done.set()
        user.join(30)
