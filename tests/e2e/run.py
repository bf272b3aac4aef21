#!/usr/bin/env python3
"""Run scopeshim against real gateway releases and print what held."""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.support import install
from tests.support import modes
from tests.support import procs
from tests.e2e.base import CASES, Context, Miss, NotAvailable, Row, Skip
import tests.e2e.cases  # noqa: F401  registers itself

MARKS = {"ok": "ok", "fail": "FAIL", "n/a": "n/a", "skip": "skip"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/debug/scopeshim")
    parser.add_argument("--gateways", default="2026.3.28 2026.6.11 2026.9.6", help="releases, separated by blanks")
    parser.add_argument("--modes", default=" ".join(modes.KNOWN), help="of: " + " ".join(modes.KNOWN))
    parser.add_argument("--only", action="append", default=[], metavar="CASE-PREFIX", help="may be given again")
    parser.add_argument("--jobs", type=int, default=3, metavar="N",
                        help="columns at a time; most of a column's time is waiting (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was seen")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    return parser.parse_args()


def run_case(ctx, name):
    row = Row(name)
    started = time.monotonic()
    try:
        CASES[name](ctx, row)
    except NotAvailable as why:
        row.status, row.why = "n/a", str(why)
    except Skip as why:
        row.status, row.why = "skip", str(why)
    except (Miss, procs.Timeout, OSError) as why:
        row.status, row.why = "fail", f"{'' if isinstance(why, Miss) else type(why).__name__ + ': '}{why}"
    except Exception as why:
        row.status, row.why = "fail", f"{type(why).__name__}: {why}"
        traceback.print_exc()
    row.why = " ".join(row.why.split())
    row.seconds = round(time.monotonic() - started, 2)
    return row


def same(row):
    return row.status == "ok" and row.bare is not None and row.bare == row.through


def run_column(release, mode, names, binary):
    """All cases for one gateway, which is started once (and again after it was killed on purpose)."""
    print(f"\n=== {release} {mode}", flush=True)
    impossible = modes.why_not(mode, release)
    if impossible:
        print(f"n/a   {impossible}", flush=True)
        return [Row(name, "n/a", impossible) for name in names]
    rows, ctx = [], Context(release, mode, binary)
    try:
        for name in names:
            row = run_case(ctx, name)
            rows.append(row)
            said = f"bare: {'same' if same(row) else row.bare or '-'} | through: {row.through or '-'}"
            print(f"{MARKS[row.status]:5} {name:28} {said} ({row.seconds} s)", flush=True)
            if row.why:
                print(f"      {row.why}", flush=True)
            # The same fault in a row of cases needs its logs once.
            if row.status == "fail" and not (len(rows) > 1 and rows[-2].why == row.why):
                print("\n".join(f"      | {line}" for line in ctx.logs().splitlines()), flush=True)
    finally:
        ctx.close()
    return rows


class Column(procs.Child):
    """A process that runs one column; when it is told to end, it ends all it started first."""

    def __init__(self, release, mode, options, folder):
        self.at = (release, mode)
        self.results = folder / f"{release}-{mode}.json"
        command = [sys.executable, "-m", "tests.e2e.run", "--binary", options.binary, "--gateways", release, "--modes", mode,
                   "--jobs", "1", "--json", self.results, *(f"--only={prefix}" for prefix in options.only)]
        super().__init__(command, folder / f"{release}-{mode}.log", {**os.environ, "PYTHONUNBUFFERED": "1"})

    def kill(self, grace=60.0):
        super().kill(grace)

    def rows(self):
        entries = json.loads(self.results.read_text()) if self.results.exists() else []
        if not entries:
            raise RuntimeError(f"the column {' '.join(self.at)} ended with {self.process.returncode}:\n{self.tail()}")
        return [Row(entry["case"], entry["status"], entry["why"], entry["bare"], entry["through"], entry["seconds"])
                for entry in entries]


def run_columns(wanted, options, done):
    """Several columns at a time, each in a process of its own; what each says is printed in one piece."""
    with tempfile.TemporaryDirectory(prefix="scopeshim-e2e-columns-") as folder:
        waiting, running, columns = list(wanted), [], {}
        while waiting or running:
            while waiting and len(running) < options.jobs:
                running.append(Column(*waiting.pop(0), options, Path(folder)))
            ended = procs.until(lambda: [column for column in running if not column.alive()], 3600, "a column", every=0.2)
            for column in ended:
                running.remove(column)
                # Its own table and tally say nothing that the whole's do not.
                print(column.log.read_text("utf-8", "replace").partition("\n\n ")[0].rstrip("\n"), flush=True)
                columns[column.at] = column.rows()
                column.kill()
                done([(*at, columns[at]) for at in wanted if at in columns])
    return [(*at, columns[at]) for at in wanted]


def table(columns, names):
    """Rows are cases, columns are release and mode; `=` marks a case that passes without the proxy too."""
    heads = [(release, mode) for release, mode, _ in columns]
    width = max(map(len, names)) + 2
    widths = [max(len(release), len(mode), 6) + 2 for release, mode in heads]
    for part in (0, 1):
        print(" " * width + "".join(head[part].ljust(size) for head, size in zip(heads, widths)))
    for number, name in enumerate(names):
        cells = [MARKS[rows[number].status] + (" =" if same(rows[number]) else "") for _, _, rows in columns]
        print(name.ljust(width) + "".join(cell.ljust(size) for cell, size in zip(cells, widths)))
    print("(=: the bare gateway does the same)")


def reasons(columns):
    """Why something was n/a, skipped or missed; each reason once."""
    for status, title in (("n/a", "not available"), ("skip", "skipped"), ("fail", "failed")):
        found = {}
        for release, mode, rows in columns:
            for row in rows:
                if row.status == status:
                    found.setdefault(row.why, []).append(f"{row.name} ({release} {mode})")
        for why, where in found.items():
            print(f"{title}: {why}\n    {', '.join(where)}")


def write_json(file, columns):
    entries = [
        {"release": release, "mode": mode, "case": row.name, "status": row.status, "bare": row.bare,
         "through": row.through, "bare_same": same(row), "why": row.why, "seconds": row.seconds}
        for release, mode, rows in columns for row in rows
    ]
    Path(file).write_text(json.dumps(entries, indent=1) + "\n")


def main():
    options = arguments()
    names = [name for name in CASES if not options.only or name.startswith(tuple(options.only))]
    if options.list:
        print("\n".join(names))
        return 0
    binary = Path(options.binary).resolve()
    unknown = [name for name in options.modes.split() if name not in modes.KNOWN]
    if unknown:
        sys.exit(f"unknown mode {unknown[0]!r}; known: {' '.join(modes.KNOWN)}")
    if not names:
        sys.exit(f"no case begins with {options.only}")
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not there; build it first")
    procs.end_on_signals()
    releases, mode_names = options.gateways.split(), options.modes.split()
    try:
        install.releases(releases)
    except install.InstallError as err:
        sys.exit(str(err))

    def done(columns):
        if options.json:
            write_json(options.json, columns)

    options.binary = binary
    wanted = [(release, mode) for release in releases for mode in mode_names]
    if options.jobs > 1 and len(wanted) > 1:
        columns = run_columns(wanted, options, done)
    else:
        columns = []
        for release, mode in wanted:
            columns.append((release, mode, run_column(release, mode, names, binary)))
            done(columns)
    print()
    table(columns, names)
    reasons(columns)

    statuses = [row.status for _, _, rows in columns for row in rows]
    passed, failed, skipped = (statuses.count(kind) for kind in ("ok", "fail", "skip"))
    if os.environ.get("CI"):
        failed, skipped = failed + skipped, 0
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
