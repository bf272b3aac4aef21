"""A refusal as the OpenAI SDKs show it to whoever catches the error and prints it."""

import os
import tempfile

import pytest

from tests.e2e import refused
from tests.e2e.environment import case
from tests.support import clients, install, procs
from tests.support.outcomes import NotAvailable

PYTHON = """
import openai, sys
client = openai.OpenAI(max_retries=0, timeout=120)
try:
    client.chat.completions.create(model=sys.argv[1], messages=[{"role": "user", "content": "hi"}])
    print("not refused")
except openai.OpenAIError as error:
    print(f"{type(error).__name__}: {error.message}")
"""
JAVASCRIPT = """
import { createRequire } from "node:module";
const { OpenAI } = createRequire(`${process.env.OPENAI_FOLDER}/node_modules/`)("openai");
const client = new OpenAI({ maxRetries: 0, timeout: 120_000 });
try {
  await client.chat.completions.create({ model: process.env.MODEL, messages: [{ role: "user", content: "hi" }] });
  console.log("not refused");
} catch (error) {
  console.log(`${error.constructor.name}: ${error.message}`);
}
"""


@case("refused.openai-{language}.{what}")
@pytest.mark.parametrize("what", refused.WHATS)
@pytest.mark.parametrize("language", ["python", "js"])
def test_an_sdk(env, row, language, what):
    if env.mode.name != "token":
        raise NotAvailable("a refusal is the same in every mode: tried in mode token")
    assert env.gateway.running
    token, model = refused.tokens()[what]
    with env.other_shim(refused.TABLES) as side:
        given = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(), "OPENAI_API_KEY": token,
                 "OPENAI_BASE_URL": f"{side.url}/v1", "OPENAI_FOLDER": str(install.openai_js()), "MODEL": model}
        if what == "too-many":
            clients.request("GET", f"{side.url}/v1/models", [("authorization", f"Bearer {token}")])
        if language == "python":
            command = [str(install.openai_python()), "-c", PYTHON, model]
        else:
            command = [str(env.gateway.node), "--input-type=module", "-e", JAVASCRIPT]
        done = procs.run(command, given, 180)
    row.through = done.stdout.strip() or done.stderr[-300:]
    refused.check(what, row.through)
