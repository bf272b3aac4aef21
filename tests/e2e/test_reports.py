"""The reports the project was started for, one by one."""

from tests.e2e.environment import case
from tests.support.clients import Curl, content_times
from tests.support.outcomes import NotAvailable

CHAT = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}]}
PAUSE = 0.4


@case("56763.models")
def test_models_with_bearer_only(env, row):
    if env.key < (2026, 3, 24):
        raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
    _, through = row.both(env, lambda side: side.models())
    assert through.status == 200, f"got {through.brief()}"
    value = through.json()
    assert isinstance(value, dict) and value.get("object") == "list" and value.get("data"), "no list of models"


@case("56763.chat")
def test_chat_with_bearer_only(env, row):
    def act(side):
        with Curl(f"{side.url}/v1/chat/completions", side.owner, CHAT) as curl:
            curl.read()
            return curl

    _, through = row.both(env, act, show=lambda curl: str(curl.status))
    assert through.status == 200, f"got {through.text()[-300:]}"
    assert "one two three" in through.text(), "the model's words are missing"


def _shared_secret(env):
    if not env.mode.secret:
        raise NotAvailable(f"mode {env.mode.name} has no shared secret")


@case("57218.headerless")
def test_headerless(env, row):
    _shared_secret(env)
    _, through = row.both(env, lambda side: side.chat())
    assert through.status == 200, f"got {through.brief()}"


@case("57218.empty")
def test_empty_header(env, row):
    _shared_secret(env)
    _, through = row.both(env, lambda side: side.chat_gate(("x-openclaw-scopes", "")))
    row.refused(through, 403, "missing scope: operator.write")


@case("57218.narrower")
def test_narrower_header(env, row):
    _shared_secret(env)
    _, through = row.both(env, lambda side: side.chat_gate(("x-openclaw-scopes", "operator.read")))
    row.refused(through, 403, "missing scope: operator.write")


def responses_stream(env, row, credential):
    """Shared by every kind of credential: takes a side, gives its headers."""
    body = {"model": "openclaw", "input": "count to six", "stream": True}

    def act(side):
        with Curl(f"{side.url}/v1/responses", credential(side), body) as curl:
            curl.read()
            return curl

    _, through = row.both(env, act, show=lambda curl: str(curl.status))
    assert through.status == 200, f"got {through.text()[-300:]}"
    assert any('"response.completed"' in text for _, text in through.data()), "no response.completed"
    assert through.data()[-1][1] == "[DONE]", f"ends in {through.data()[-1][1][:80]}"


@case("57331.responses")
def test_responses_with_bearer_only(env, row):
    responses_stream(env, row, lambda side: side.owner)


@case("57550.stream")
def test_stream_with_client_headers(env, row):
    headers = [("x-openclaw-client-id", "openclaw-control-ui"), ("x-openclaw-message-channel", "webchat")]
    env.model.pause, before = PAUSE, env.model.pause

    def act(side):
        with Curl(f"{side.url}/v1/chat/completions", side.owner + headers, {**CHAT, "stream": True}) as curl:
            curl.read()
            return curl

    def show(curl):
        times = content_times(curl.data())
        return f"{curl.status}, {len(times)} pieces over {times[-1] - times[0]:.1f} s" if times else str(curl.status)

    try:
        _, through = row.both(env, act, show)
    finally:
        env.model.pause = before
    assert through.status == 200, f"got {through.text()[-300:]}"
    assert through.data()[-1][1] == "[DONE]", f"ends in {through.data()[-1][1][:80]}"
    times = content_times(through.data())
    assert len(times) > 1, "all words came in one event"
    assert times[-1] - times[0] >= env.model.words_seconds(PAUSE) * 0.5, "events were held back"


ANONYMOUS = '\n[anonymous]\nscopes = ["operator.read", "operator.write"]\n'


def _anonymous(env, row, *headers):
    if env.mode.name != "none":
        raise NotAvailable("report 58357 is about mode none")
    bare = env.bare.chat(*headers, who=[])
    row.bare = bare.brief()
    with env.other_shim(ANONYMOUS) as side:
        through = side.chat(*headers, who=[])
    row.through = through.brief()
    assert through.status == 200, f"got {through.brief()}"


@case("58357.no-credential")
def test_anonymous_chat(env, row):
    _anonymous(env, row)


@case("58357.blank-separated")
def test_anonymous_blank_separated(env, row):
    _anonymous(env, row, ("x-openclaw-scopes", "operator.read operator.write"))
