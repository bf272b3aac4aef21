"""The gateway dies and comes back."""

import time

from tests.e2e.base import case
from tests.e2e.cases.streams import PAUSE, open_stream, slow_model


@case("down.error")
def error_at_once(ctx, row):
    side = ctx.through
    # Leaves a pooled connection to a gateway that will be gone.
    row.need(side.models().status == 200, "the gateway does not answer before it is killed")
    ctx.gateway.stop()
    for answer in (side.models(), side.chat()):
        row.through = f"{answer.brief()}, after {answer.seconds:.1f} s"
        row.need(answer.status in (502, 503), f"got {answer.brief()}")
        row.need(answer.seconds < 5, f"took {answer.seconds:.1f} s")
        value = answer.json()
        error = value.get("error") if isinstance(value, dict) else None
        row.need(isinstance(error, dict) and error.get("message"), f"not an OpenAI error: {answer.body[:200]!r}")


@case("down.restart")
def works_after_restart(ctx, row):
    if not ctx.gateway_unstarted.starts:
        row.need(ctx.through.models().status == 200, "the gateway does not answer before it is killed")
    ctx.gateway_unstarted.stop()
    answer = ctx.through.models()
    row.through = answer.brief()
    row.need(answer.status == 200, f"got {answer.brief()}")


@case("down.stream-ends")
def stream_ends(ctx, row):
    with slow_model(ctx):
        with open_stream(ctx.through) as stream:
            ctx.gateway.stop()
            died = time.monotonic()
            ended = stream.read(seconds=5)
            row.through = f"ends after {time.monotonic() - died:.1f} s" if ended else "hangs"
            row.need(ended, "the stream hangs")
            row.need("[DONE]" not in stream.text(), f"the stream looks finished, with pauses of {PAUSE} s left")
            row.need(stream.exit != 0, "the client cannot tell that the stream was cut")
