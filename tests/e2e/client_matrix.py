#!/usr/bin/env python3
"""The clients' part of docs/compatibility.md, and what clients show of refusals in docs/refusals.md, from what
`--json` wrote: client_matrix.py RESULTS.json
"""

import re
import sys
from pathlib import Path

from tests.e2e import matrix

DOCS = Path(__file__).resolve().parents[2] / "docs"
CLIENTS = (
    ("OpenAI SDK, Python", ("sdk-py.",)),
    ("OpenAI SDK, JavaScript", ("sdk-js.",)),
    ("Open WebUI {0}", ("open-webui-{0}.",)),
    ("`packaging/compose` with Open WebUI", ("compose.",)),
    ("`openclaw gateway`, command line", ("openclaw-cli.",)),
    ("`openclaw tui`", ("openclaw-tui.",)),
    ("`@openclaw/gateway-client`", ("gateway-client.",)),
    ("docs/clients/{0}.md", ("page.{0}.", "page.{0}")),
)
WHATS = {
    "unknown-token": "a token that is unknown", "missing-scope": "a scope that is missing",
    "too-many": "more requests than allowed", "unknown-model": "a model that the gateway does not have (by the gateway)"}
NAMES = {"openai-python": "OpenAI SDK, Python", "openai-js": "OpenAI SDK, JavaScript", "openclaw-cli": "`openclaw gateway call`",
         "openclaw-tui": "`openclaw tui`", "gateway-client": "`@openclaw/gateway-client`"}
BEGIN, END = matrix.CLIENTS, "<!-- end -->"


def clients(results):
    """Name and prefixes of each client that was seen, the templates filled in."""
    cases = sorted({name for column in results.values() for name in column})
    found = {}
    for title, prefixes in CLIENTS:
        pattern = re.escape(prefixes[0]).replace(re.escape("{0}"), r"([\w.-]+?)")
        for name in cases:
            if seen := re.match(pattern + (r"(?=[a-z\d-]+$)" if "{0}" in prefixes[0] else ""), name):
                found.setdefault(title.format(*seen.groups()), tuple(one.format(*seen.groups()) for one in prefixes))
    if "page.browser" in cases:
        found["docs/clients/browser.md"] = ("page.browser",)
    return found


def state(cases, prefixes):
    entries = [entry for name, entry in cases.items() if name.startswith(prefixes[0]) or name in prefixes]
    statuses = [entry["status"] for entry in entries]
    if not entries:
        return ""
    if set(statuses) & {"fail", "skip"}:
        return "**fails**"
    passed = statuses.count("ok")
    return f"{passed} of {len(statuses)}" if passed < len(statuses) else f"all {passed}"


def compatibility(results):
    releases = list(results)
    lines = ["## Clients", "", "How many of a client's cases pass through scopeshim, in mode token. The rest is not available on the",
             "release, for the reasons below. `make e2e-clients` runs them.", "",
             matrix.row(["client", *(release for release, _ in releases)]), "|" + "---|" * (len(releases) + 1)]
    for title, prefixes in clients(results).items():
        lines.append(matrix.row([title, *(state(results[at], prefixes) for at in releases)]))
    fails = matrix.reasons(results, "fail", "Clients: what fails") + matrix.reasons(results, "skip", "Clients: what was skipped")
    return [*lines, "", *fails, *matrix.reasons(results, "n/a", "Clients: what is not available")]


def refusals(results):
    """Of several releases the newest counts, and an older one where it differs."""
    lines = [matrix.row(["refused for", "client", "it shows"]), "|---|---|---|"]
    for what, title in WHATS.items():
        shown = {}
        for (release, _), cases in reversed(results.items()):
            for name, entry in cases.items():
                if not name.startswith("refused.") or not name.endswith(f".{what}"):
                    continue
                client = name.removeprefix("refused.").removesuffix(f".{what}")
                client = NAMES.get(client) or client.replace("open-webui-", "Open WebUI ")
                text = entry["through"] if entry["status"] == "ok" else f"**{entry['status']}**"
                told = shown.setdefault(client, {})
                if text not in told:
                    told[text] = "" if not told else f" ({release})"
        rows = {}
        for client, told in shown.items():
            for text, where in told.items():
                rows.setdefault(text, []).append(client + where)
        lines += [matrix.row([title, ", ".join(sorted(who)), quoted(text)]) for text, who in rows.items()]
    return lines


def quoted(text):
    text = " ".join(re.sub(r"\bin \d+ s\b", "in … s", text or "").split()).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def replace(file, lines):
    """What stands between the marks of a page."""
    page = file.read_text("utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{file} has no part between {BEGIN} and {END}")
    file.write_text(before + "\n".join([BEGIN, "", *lines]).rstrip() + f"\n\n{END}" + after)


def main():
    results = matrix.load(sys.argv[1:])
    if not results:
        sys.exit(__doc__.strip())
    replace(DOCS / "compatibility.md", compatibility(results))
    replace(DOCS / "refusals.md", refusals(results))


if __name__ == "__main__":
    main()
