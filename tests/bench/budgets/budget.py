"""The budgets in budgets.json, and what is said about a count beside them."""

import json
from pathlib import Path

FILE = Path(__file__).with_name("budgets.json")
ALLOWED_GROWTH = 0.03
# Functions below this share are kept together; their names change with every version of a compiler.
LEAST_SHARE = 0.002
SHOWN = 12


def least(windows):
    """What happened beside the load (timers, the allocator's purges) is in one window more than in another."""
    return min(windows, key=lambda window: sum(window.values()))


def bless(counted):
    kept = _kept()
    for name, windows in counted.items():
        window = least(windows)
        total = sum(window.values())
        largest = {f: round(n) for f, n in sorted(window.items(), key=lambda f: -f[1]) if n >= total * LEAST_SHARE}
        kept[name] = {"instructions": round(total), "functions": largest}
    FILE.write_text(json.dumps(kept, indent=1) + "\n")


def judge(counted):
    """Prints a table; 1 if something grew too much or has no budget."""
    kept, failed = _kept(), 0
    print(f"{'instructions of one':20} {'counted':>14} {'budget':>14} {'change':>8}   apart in the windows")
    for name, windows in counted.items():
        totals = [sum(window.values()) for window in windows]
        spread = (max(totals) - min(totals)) / min(totals)
        allowed = kept.get(name, {}).get("instructions")
        change = min(totals) / allowed - 1 if allowed else None
        shown = "none" if change is None else f"{change:+.1%}"
        print(f"{name:20} {min(totals):14,.0f} {allowed or 0:14,} {shown:>8}   {spread:.1%}")
        if change is None or change > ALLOWED_GROWTH:
            failed = 1
            grown(least(windows), kept.get(name, {}).get("functions", {}))
    if failed:
        print(f"More than {ALLOWED_GROWTH:.0%} above its budget. If it is worth that: make budgets BLESS=1, and say why in the commit.")
    return failed


def grown(window, before):
    """The functions that take more than they did, the most first."""
    more = {f: (before.get(f, 0), now) for f, now in window.items()}
    for function, (was, now) in sorted(more.items(), key=lambda f: f[1][0] - f[1][1])[:SHOWN]:
        print(f"    {now - was:+12,.0f}  {was:,} -> {now:,.0f}  {function[:140]}")


def _kept():
    return json.loads(FILE.read_text()) if FILE.exists() else {}
