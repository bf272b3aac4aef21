"""The table."""

import statistics
from dataclasses import dataclass
from pathlib import Path

# What a table cannot say: how to read and repeat it, and what was tried.
NOTES = Path(__file__).with_name("notes.md")

median = statistics.median


@dataclass
class Row:
    work: str
    figure: str = ""
    measured: str = ""
    ratio: str = ""
    reached: bool | None = None

    def cells(self):
        verdict = {None: "", True: "yes", False: "**no**"}[self.reached]
        return [self.work, self.figure, self.measured, self.ratio, verdict]


def failed(work, error):
    return Row(work, measured=f"failed to run: {error}".replace("\n", " ")[:300])


def ratio(values, base):
    """The ratio of the medians, with the least and the greatest of the single turns."""
    turns = [a / b for a, b in zip(values, base) if b]
    if not turns or not median(base):
        return None, ""
    middle = median(values) / median(base)
    return middle, f"{middle:.2f} [{min(turns):.2f}..{max(turns):.2f}]"


def markdown(facts, rows):
    lines = ["# Benchmarks", "", *[f"- {fact}" for fact in facts], ""]
    lines += ["| work | figure to reach | measured | ratio | reached |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |" for row in rows]
    return "\n".join([*lines, "", NOTES.read_text()])
