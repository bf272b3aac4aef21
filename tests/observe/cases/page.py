"""The status page in a real browser."""

import json
import os
import subprocess
import time

from tests.support import procs
from tests.support import shim
from tests.observe import tools
from tests.observe import traffic
from tests.observe.base import HERE
from tests.support.suite import case, need


class Browser:
    def __init__(self, ctx, url):
        chromium, node, driver = tools.browser()
        profile = ctx.folder / f"profile-{time.monotonic_ns()}"
        self._log = open(ctx.folder / "browser.log", "ab")
        self._process = subprocess.Popen([node, HERE / "page.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._log, text=True, env={**os.environ, "HOME": str(ctx.folder)})
        procs.adopt(self._process)
        self._say(url=url, browser=chromium, driver=str(driver), profile=str(profile), shots=str(ctx.shots))
        self._ctx = ctx

    def _say(self, **what):
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def look(self, name, **how):
        """What the page shows; `wait` is for the verdict, `need` for any text."""
        self._say(look=name, **how)
        line = self._process.stdout.readline()
        if not line:
            self._log.flush()
            raise RuntimeError(f"the browser ended: {(self._ctx.folder / 'browser.log').read_text()[-1500:]}")
        seen = json.loads(line)
        self._ctx.seen.append(seen["text"])
        need(not seen["faults"], f"{name}: faults {seen['faults']}")
        need(not seen["foreign"], f"{name}: asks elsewhere {seen['foreign']}")
        need(not seen["markup"], f"{name}: a value became markup")
        need(not seen["faint"], f"{name}: hard to read: {seen['faint'][:5]}")
        need(seen["wide"] <= 0, f"{name}: {seen['wide']} pixels wider than the screen")
        return seen

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        procs.disown(self._process)


@case("page.serving")
def serving(ctx):
    """A process of its own, so that the pictures show this traffic."""
    rig = ctx.new_rig()
    browser = Browser(ctx, rig.admin)
    try:
        browser.look("empty", wait="✓ Serving", need="None so far.")
        traffic.one_round(rig)
        for _ in range(5):
            rig.ask("/v1/chat/completions", shim.TOKENS["reader"], body=traffic.CHAT)
        seen = browser.look("serving", need="×6")
        text = seen["text"]
        need(seen["title"].startswith("✓"), f"the title is {seen['title']}")
        for words in ("403 missing_scope", "To allow it:", "reader (token) from 127.0.0.1", "POST /v1/chat/completions",
                      "answering", "generation 1", "expires in 5 days",
                      'add "operator.write" to `scopes` of the token `reader`'):
            need(words in text, f"{words!r} is not on the page")
        need("with a claim that this caller alone has" in text, "a name with markup stands in a line to copy")
        need("Eve</b>\\u202eevE" in text, "a sign that turns text around is not spelled out")
        need("<b onmouseover=" in text, "the caller's name is not shown as it is")
        need("owned" not in seen["title"], "a value ran")
        time.sleep(4)
        browser.look("serving-dark", dark=True)
        browser.look("phone", phone=True)
        browser.look("phone-dark", phone=True, dark=True)
    finally:
        browser.close()
    return "refusals with their remedy, hostile values as text, wide, on a phone, light, dark"


@case("page.access")
def access(ctx):
    """By keyboard and by what a screen reader is told."""
    browser = Browser(ctx, ctx.rig.admin)
    try:
        seen = browser.look("keyboard", wait="Serving", press=["Tab", "Space"])
        need(seen["focus"] == "pause" and seen["pressed"] == "true", f"Tab and Space reach {seen['focus']}")
        need(seen["target"] >= 44, f"the button is {seen['target']} pixels high")
        tree = seen["tree"]
        for part in ('heading "scopeshim" [level=1]', 'heading "Last refusals" [level=2]', 'region "What is going on"',
                     "status:", 'img "Requests a second', 'list', 'button "Pause updates" [pressed]'):
            need(part in tree, f"{part!r} is not in the tree:\n{tree[:1500]}")
    finally:
        browser.close()
    return "headings, regions, a live verdict, charts in words, a button by keyboard"


@case("page.trouble")
def trouble(ctx):
    rig = ctx.new_rig()
    browser = Browser(ctx, rig.admin)
    try:
        browser.look("before", wait="✓ Serving")
        rig.reload(rig.good.replace("operator.read", "operator.reed") + "\nnonsense = 1\n")
        seen = browser.look("broken-reload", wait="! Serving, with trouble")
        need("the last reload was refused" in seen["text"] and "nonsense" in seen["text"], "the reason is not shown")
        rig.model.stop()
        need(rig.ask(token=shim.TOKENS["reader"]).status >= 500, "the gateway is still there")
        seen = browser.look("gateway-down", need="the gateway did not answer", phone=True, dark=True)
        need("failing" in seen["text"], "the gateway's card says nothing")
        rig.restart_gateway(rig.model.port)
        rig.shim.stop()
        seen = browser.look("no-answer", wait="✗ No answer")
        need("old" in seen["verdict"] and seen["title"].startswith("✗"), f"{seen['verdict']} {seen['title']}")
    finally:
        browser.close()
    return "a refused reload, a gateway that is down, a process that is gone"


@case("page.waiting")
def waiting(ctx):
    rig = ctx.new_rig(without_keys=True)
    browser = Browser(ctx, rig.admin)
    try:
        seen = browser.look("waiting", wait="✗ Not ready")
        need("waiting for keys of the issuer silent" in seen["text"], "what it waits for is not shown")
    finally:
        browser.close()
    return "not ready, and what it waits for"
