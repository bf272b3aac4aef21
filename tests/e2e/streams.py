"""Chat streams with a model that takes its time."""

import pytest

from tests.support.clients import Curl, content_times
from tests.support.procs import until

BODY = {"model": "openclaw", "messages": [{"role": "user", "content": "count to six"}], "stream": True}
SCOPES = [("x-openclaw-scopes", "operator.read,operator.write")]
PAUSE = 1.0


def open_stream(side):
    """A stream of which the first word has come."""
    curl = Curl(f"{side.url}/v1/chat/completions", side.owner + SCOPES, BODY)
    came = curl.read(lambda lines: content_times([(at, line[5:].strip()) for at, line in lines
                                                  if line.startswith("data: {")]), 90)
    if not came or curl.ended:
        text = curl.text()[-300:]
        curl.close()
        pytest.fail(f"the stream did not begin: {text}")
    return curl


class slow_model:
    """The model takes its time, and what it began is over when the block is left."""

    def __init__(self, env):
        self.model = env.model

    def __enter__(self):
        self.before, self.model.pause = self.model.pause, PAUSE

    def __exit__(self, *_error):
        self.model.pause = self.before
        until(lambda: all(call.done for call in self.model.calls), 30, "the model's calls end")
