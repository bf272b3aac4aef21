"""The lines of docs/clients, run as they stand there but for the address and the token.

A fenced block behind `<!-- tried: chat -->` is run and must print the model's words; `models` must list the gateway's
model. `from 2026.9` behind it says from which release: on older ones it must fail. The block behind `<!-- refused -->`
holds what the page's first chat prints when its token may only read.
"""

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support import install, procs

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "clients"
ADDRESS = "127.0.0.1:18780"
TOKEN = "YOUR-TOKEN"
FENCE = re.compile(r"<!-- (tried|refused)(?:: ([a-z]+)(?: from ([0-9.]+))?)? -->\n```(\w+)\n(.*?)\n```", re.DOTALL)


@dataclass
class Block:
    kind: str
    language: str
    text: str
    since: tuple = ()

    def works_on(self, release):
        return install.release_key(release)[:len(self.since)] >= self.since


def blocks(page):
    """What is to be run, and the line of a refusal."""
    tried, refused = [], None
    for what, kind, since, language, text in FENCE.findall((FOLDER / f"{page}.md").read_text("utf-8")):
        if what == "refused":
            refused = text.splitlines()[0].strip()
        else:
            tried.append(Block(kind, language, text, tuple(map(int, since.split("."))) if since else ()))
    return tried, refused


def fill(text, url, token):
    return text.replace(ADDRESS, url.removeprefix("http://")).replace(TOKEN, token)


def execute(page, block, url, token, node):
    """What the block prints, both streams, on one line each."""
    text = fill(block.text, url, token)
    with tempfile.TemporaryDirectory(prefix="client-page-") as work:
        env = {"PATH": os.environ.get("PATH", ""), "HOME": work, "TMPDIR": work, "NO_COLOR": "1",
               "LLM_USER_PATH": f"{work}/llm", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
        if block.language == "js":
            file = Path(work) / "page.mjs"
            file.write_text(text)
            os.symlink(install.page_js(page) / "node_modules", Path(work) / "node_modules")
            command = [str(node), str(file)]
        elif block.language == "python":
            command = [str(install.page_python(page)), "-c", text]
        elif block.language == "sh":
            if page in install.PAGES_PYTHON:
                env["PATH"] = f"{install.page_python(page).parent}{os.pathsep}{env['PATH']}"
            command = ["bash", "-ec", text]
        else:
            raise ValueError(f"{page}: no way to run {block.language}")
        done = procs.run(command, env, 180)
    return " ".join(f"{done.stdout} {done.stderr}".split())


def browser(page_port, url, token, chromium, node, html):
    """What the page in docs/clients/browser.md shows, opened from another origin; and what else a page could do."""
    env = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(), "PLAYWRIGHT_FOLDER": str(install.playwright()),
           "OPENAI_FOLDER": str(install.openai_js())}
    asked = {"port": page_port, "url": url, "chromium": chromium, "token": token, "html": fill(html, url, token)}
    done = procs.run([str(node), str(Path(__file__).with_name("foreign_page.mjs"))], env, 320, json.dumps(asked))
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"the browser ended with {done.returncode}: {done.stderr[-600:]}") from None
