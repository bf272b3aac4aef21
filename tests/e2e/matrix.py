#!/usr/bin/env python3
"""Make docs/compatibility.md from what `--json` wrote: `matrix.py RESULTS.json ...`. The clients' part, which
client_matrix.py makes, stays as it is.

Of several files the later one counts where both hold the same case.
"""

import json
import re
import sys
from pathlib import Path

from tests.support import install

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
CLIENTS = "<!-- Made by `make e2e-clients`; do not edit. -->"
MODES = ("token", "password", "none", "trusted-proxy")
# Column, the cases behind it.
FEATURES = (
    ("models", ("56763.models",)),
    ("chat", ("56763.chat",)),
    ("stream", ("57550.", "hangup.")),
    ("responses", ("57331.",)),
    ("SDKs", ("sdk-",)),
    ("scopes header", ("scopes.", "57218.", "58357.")),
    ("own token", ("reader.",)),
    ("unauthenticated", ("unauthenticated.",)),
    ("JWT", ("jwt.", "oidc.")),
    ("WebSocket", ("ws.", "46716.")),
    ("paths, framing", ("path.", "framing.", "health.")),
    ("spoofed headers", ("upstream.",)),
    ("restart", ("down.",)),
    ("init, doctor", ("onboarding.",)),
)
STATES = ("absent", "empty", "read", "write", "admin", "approvals", "blank-separated", "two-lines", "unknown")

HEAD = """<!-- Made by `make matrix`; do not edit. -->
# Compatibility

Results with real gateway releases, on the bare gateway and through scopeshim, from the cases in `tests/e2e`.
The gateway, scopeshim and the clients ran on one machine.

| cell | meaning |
|---|---|
| as is | works, and the bare gateway does the same |
| fixed | works through scopeshim, and differs on the bare gateway |
| works | works through scopeshim; there is nothing on the bare gateway to compare it with |
| – | impossible or not available; the reasons are below |
| **fails** | does not work |
| (empty) | not tried |
"""


def load(files):
    found = {}
    for file in files:
        for entry in json.loads(Path(file).read_text()):
            found.setdefault((entry["release"], entry["mode"]), {})[entry["case"]] = entry
    order = sorted(found, key=lambda at: (install.release_key(at[0]), MODES.index(at[1])))
    return {at: found[at] for at in order}


def cell(cases, prefixes):
    entries = [entry for name, entry in cases.items() if name.startswith(prefixes)]
    if not entries:
        return ""
    if any(entry["status"] == "fail" for entry in entries):
        return "**fails**"
    passed = [entry for entry in entries if entry["status"] == "ok"]
    if not passed:
        return "–"
    compared = [entry for entry in passed if entry["bare"] not in (None, "-")]
    if not compared:
        return "works"
    return "as is" if all(plain(entry["bare"]) == plain(entry["through"]) for entry in compared) else "fixed"


def plain(seen):
    """What was seen, without its times, which differ from run to run."""
    return re.sub(r"[\d.]+ s\b", "", seen or "")


def row(cells):
    return "| " + " | ".join(cells) + " |"


def features(results):
    used = [(title, prefixes) for title, prefixes in FEATURES
            if any(name.startswith(prefixes) for cases in results.values() for name in cases)]
    lines = ["## What works", "", row(["release", "mode", *(title for title, _ in used)]),
             "|" + "---|" * (len(used) + 2)]
    for (release, mode), cases in results.items():
        lines.append(row([release, mode, *(cell(cases, prefixes) for _, prefixes in used)]))
    return lines


def scopes(results):
    lines = ["## The scopes header", "",
             "GET /v1/models / POST /v1/chat/completions, by a caller that may do everything: `OK` passes the scope gate, `R` and `W`",
             "are 403 because operator.read or operator.write is missing. Of two results the first is the bare gateway.", "",
             row(["release", "mode", *STATES]), "|" + "---|" * (len(STATES) + 2)]
    for (release, mode), cases in results.items():
        cells = []
        for state in STATES:
            entry = cases.get(f"scopes.{state}")
            if not entry:
                cells.append("")
            elif entry["status"] != "ok":
                cells.append("–" if entry["status"] == "n/a" else "**fails**")
            else:
                cells.append(entry["through"] if entry["bare_same"] else f"{entry['bare']} → {entry['through']}")
        lines.append(row([release, mode, *cells]))
    return lines


def reasons(results, status, title):
    found = {}
    for (release, mode), cases in results.items():
        for name, entry in cases.items():
            if entry["status"] == status:
                found.setdefault(entry["why"], {}).setdefault(f"{release} {mode}", []).append(name)
    if not found:
        return []
    lines = [f"## {title}", ""]
    for why, where in found.items():
        names = sorted({name for cases in where.values() for name in cases})
        shown = ", ".join(names) if len(names) <= 6 else f"{len(names)} cases"
        lines.append(f"- {why}: {shown} ({', '.join(where)})")
    return [*lines, ""]


def tally(results):
    statuses = [entry["status"] for cases in results.values() for entry in cases.values()]
    releases = len({release for release, _ in results})
    return (f"{len(statuses)} cases over {releases} releases: {statuses.count('ok')} passed, "
            f"{statuses.count('fail')} failed, {statuses.count('n/a')} not available.")


def main():
    results = load(sys.argv[1:])
    if not results:
        sys.exit("usage: matrix.py RESULTS.json ...")
    parts = [HEAD, tally(results), "", *features(results), "", *scopes(results), "",
             *reasons(results, "fail", "What fails"), *reasons(results, "n/a", "What is impossible or not available")]
    kept = PAGE.read_text("utf-8").partition(CLIENTS)
    PAGE.write_text("\n".join(parts).rstrip() + "\n\n" + kept[1] + kept[2])


if __name__ == "__main__":
    main()
