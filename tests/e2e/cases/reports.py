"""The reports the project was started for, one by one."""

from tests.e2e.base import NotAvailable, case
from tests.support.clients import Curl, content_times

CHAT = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}]}
PAUSE = 0.4


@case("56763.models")
def models_with_bearer_only(ctx, row):
    if ctx.key < (2026, 3, 24):
        raise NotAvailable("GET /v1/models is the user interface before 2026.3.24")
    _, through = row.both(ctx, lambda side: side.models())
    row.need(through.status == 200, f"got {through.brief()}")
    value = through.json()
    row.need(isinstance(value, dict) and value.get("object") == "list" and value.get("data"), "no list of models")


@case("56763.chat")
def chat_with_bearer_only(ctx, row):
    def act(side):
        with Curl(f"{side.url}/v1/chat/completions", side.owner, CHAT) as curl:
            curl.read()
            return curl

    _, through = row.both(ctx, act, show=lambda curl: str(curl.status))
    row.need(through.status == 200, f"got {through.text()[-300:]}")
    row.need("one two three" in through.text(), "the model's words are missing")


def _shared_secret(ctx):
    if not ctx.mode.secret:
        raise NotAvailable(f"mode {ctx.mode.name} has no shared secret")


@case("57218.headerless")
def headerless(ctx, row):
    _shared_secret(ctx)
    _, through = row.both(ctx, lambda side: side.chat())
    row.need(through.status == 200, f"got {through.brief()}")


@case("57218.empty")
def empty_header(ctx, row):
    _shared_secret(ctx)
    _, through = row.both(ctx, lambda side: side.chat_gate(("x-openclaw-scopes", "")))
    row.refused(through, 403, "missing scope: operator.write")


@case("57218.narrower")
def narrower_header(ctx, row):
    _shared_secret(ctx)
    _, through = row.both(ctx, lambda side: side.chat_gate(("x-openclaw-scopes", "operator.read")))
    row.refused(through, 403, "missing scope: operator.write")


def responses_stream(ctx, row, credential):
    """Shared by every kind of credential: takes a side, gives its headers."""
    body = {"model": "openclaw", "input": "count to six", "stream": True}

    def act(side):
        with Curl(f"{side.url}/v1/responses", credential(side), body) as curl:
            curl.read()
            return curl

    _, through = row.both(ctx, act, show=lambda curl: str(curl.status))
    row.need(through.status == 200, f"got {through.text()[-300:]}")
    row.need(any('"response.completed"' in text for _, text in through.data()), "no response.completed")
    row.need(through.data()[-1][1] == "[DONE]", f"ends in {through.data()[-1][1][:80]}")


@case("57331.responses")
def responses_with_bearer_only(ctx, row):
    responses_stream(ctx, row, lambda side: side.owner)


@case("57550.stream")
def stream_with_client_headers(ctx, row):
    headers = [("x-openclaw-client-id", "openclaw-control-ui"), ("x-openclaw-message-channel", "webchat")]
    ctx.model.pause, before = PAUSE, ctx.model.pause

    def act(side):
        with Curl(f"{side.url}/v1/chat/completions", side.owner + headers, {**CHAT, "stream": True}) as curl:
            curl.read()
            return curl

    def show(curl):
        times = content_times(curl.data())
        return f"{curl.status}, {len(times)} pieces over {times[-1] - times[0]:.1f} s" if times else str(curl.status)

    try:
        _, through = row.both(ctx, act, show)
    finally:
        ctx.model.pause = before
    row.need(through.status == 200, f"got {through.text()[-300:]}")
    row.need(through.data()[-1][1] == "[DONE]", f"ends in {through.data()[-1][1][:80]}")
    times = content_times(through.data())
    row.need(len(times) > 1, "all words came in one event")
    row.need(times[-1] - times[0] >= ctx.model.words_seconds(PAUSE) * 0.5, "events were held back")


ANONYMOUS = '\n[anonymous]\nscopes = ["operator.read", "operator.write"]\n'


def _anonymous(ctx, row, *headers):
    if ctx.mode.name != "none":
        raise NotAvailable("report 58357 is about mode none")
    bare = ctx.bare.chat(*headers, who=[])
    row.bare = bare.brief()
    with ctx.other_shim(ANONYMOUS) as side:
        through = side.chat(*headers, who=[])
    row.through = through.brief()
    row.need(through.status == 200, f"got {through.brief()}")


@case("58357.no-credential")
def anonymous_chat(ctx, row):
    _anonymous(ctx, row)


@case("58357.blank-separated")
def anonymous_blank_separated(ctx, row):
    _anonymous(ctx, row, ("x-openclaw-scopes", "operator.read operator.write"))
