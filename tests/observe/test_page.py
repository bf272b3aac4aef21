"""The status page in a real browser."""

import time

from tests.observe import traffic
from tests.support import shim


def test_refusals_with_their_remedy(harnesses, open_browser, say):
    """A process of its own, so that the pictures show this traffic."""
    harness = harnesses.new()
    browser = open_browser(harness.admin)
    browser.look("empty", wait="✓ Serving", need="None so far.")
    traffic.one_round(harness)
    for _ in range(5):
        harness.ask("/v1/chat/completions", shim.TOKENS["reader"], body=traffic.CHAT)
    seen = browser.look("serving", need="×6")
    text = seen["text"]
    assert seen["title"].startswith("✓"), f"the title is {seen['title']}"
    for words in ("403 missing_scope", "To fix:", "reader (token) from 127.0.0.1", "POST /v1/chat/completions",
                  "answering", "generation 1", "expires in 5 days",
                  'add "operator.write" to `scopes` of the token `reader`'):
        assert words in text, f"{words!r} is not on the page"
    assert "with a claim that this caller alone has" in text, "a name with markup stands in a line to copy"
    assert "Eve</b>\\u202eevE" in text, "a sign that turns text around is not spelled out"
    assert "<b onmouseover=" in text, "the caller's name is not shown as it is"
    assert "owned" not in seen["title"], "a value ran"
    # The page asks every two seconds: its charts get their lines.
    time.sleep(4)
    browser.look("serving-dark", dark=True)
    browser.look("phone", phone=True)
    browser.look("phone-dark", phone=True, dark=True)
    say("refusals with their remedy, hostile values as text, wide, on a phone, light, dark")


def test_by_keyboard_and_screen_reader(harness, open_browser, say):
    """By keyboard and by what a screen reader is told."""
    browser = open_browser(harness.admin)
    seen = browser.look("keyboard", wait="Serving", press=["Tab", "Space"])
    assert seen["focus"] == "pause" and seen["pressed"] == "true", f"Tab and Space reach {seen['focus']}"
    assert seen["target"] >= 44, f"the button is {seen['target']} pixels high"
    tree = seen["tree"]
    for part in ('heading "scopeshim" [level=1]', 'heading "Last refusals" [level=2]', 'region "What is going on"',
                 "status:", 'img "Requests a second', 'list', 'button "Pause updates" [pressed]'):
        assert part in tree, f"{part!r} is not in the tree:\n{tree[:1500]}"
    say("headings, regions, a live verdict, charts in words, a button by keyboard")


def test_trouble(harnesses, open_browser, say):
    harness = harnesses.new()
    browser = open_browser(harness.admin)
    browser.look("before", wait="✓ Serving")
    harness.reload(harness.good.replace("operator.read", "operator.reed") + "\nnonsense = 1\n")
    seen = browser.look("broken-reload", wait="! Serving, with warnings")
    assert "the last reload was refused" in seen["text"] and "nonsense" in seen["text"], "the reason is not shown"
    harness.model.stop()
    assert harness.ask(token=shim.TOKENS["reader"]).status >= 500, "the gateway is still there"
    seen = browser.look("gateway-down", need="the gateway did not answer", phone=True, dark=True)
    assert "failing" in seen["text"], "the gateway's card says nothing"
    harness.restart_gateway(harness.model.port)
    harness.shim.stop()
    seen = browser.look("no-answer", wait="✗ No answer")
    assert "old" in seen["verdict"] and seen["title"].startswith("✗"), f"{seen['verdict']} {seen['title']}"
    say("a refused reload, a gateway that is down, a process that is gone")


def test_not_ready(harnesses, open_browser, say):
    harness = harnesses.new(without_keys=True)
    browser = open_browser(harness.admin)
    seen = browser.look("waiting", wait="✗ Not ready")
    assert "waiting for keys of the issuer silent" in seen["text"], "what it waits for is not shown"
    say("not ready, and what it waits for")
