"""The gateway dies and comes back."""

import time

from tests.e2e.environment import case
from tests.e2e.streams import PAUSE, open_stream, slow_model


@case("down.error")
def test_error_at_once(env, row):
    side = env.through
    # Leaves a pooled connection to a gateway that will be gone.
    assert side.models().status == 200, "the gateway does not answer before it is killed"
    env.gateway.stop()
    for answer in (side.models(), side.chat()):
        row.through = f"{answer.brief()}, after {answer.seconds:.1f} s"
        assert answer.status in (502, 503), f"got {answer.brief()}"
        assert answer.seconds < 5, f"took {answer.seconds:.1f} s"
        value = answer.json()
        error = value.get("error") if isinstance(value, dict) else None
        assert isinstance(error, dict) and error.get("message"), f"not an OpenAI error: {answer.body[:200]!r}"


@case("down.restart")
def test_works_after_restart(env, row):
    if not env.gateway_unstarted.starts:
        assert env.through.models().status == 200, "the gateway does not answer before it is killed"
    env.gateway_unstarted.stop()
    answer = env.through.models()
    row.through = answer.brief()
    assert answer.status == 200, f"got {answer.brief()}"


@case("down.stream-ends")
def test_stream_ends(env, row):
    with slow_model(env), open_stream(env.through) as stream:
        env.gateway.stop()
        died = time.monotonic()
        ended = stream.read(seconds=5)
        row.through = f"ends after {time.monotonic() - died:.1f} s" if ended else "hangs"
        assert ended, "the stream hangs"
        assert "[DONE]" not in stream.text(), f"the stream looks finished, with pauses of {PAUSE} s left"
        assert stream.exit != 0, "the client cannot tell that the stream was cut"
