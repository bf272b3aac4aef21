"""What was seen, as text: bare against through, by case, release and mode."""

MARKS = {"ok": "ok", "fail": "FAIL", "n/a": "n/a", "skip": "skip"}


def heading(at):
    return ["", f"=== {' '.join(at)}"]


def lines(cell):
    said = f"bare: {'same' if cell['bare_same'] else cell['bare'] or '-'} | through: {cell['through'] or '-'}"
    found = [f"{MARKS[cell['status']]:5} {cell['case']:28} {said} ({cell['seconds']} s)"]
    return [*found, f"      {cell['why']}"] if cell["why"] else found


def table(columns):
    """Rows are cases, columns are release and mode; `=` marks a case that passes without the proxy too."""
    columns = {at: {cell["case"]: cell for cell in cells} for at, cells in columns.items() if cells}
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    width = max(map(len, names)) + 2
    widths = [max(len(release), len(mode), 6) + 2 for release, mode in columns]
    found = [" " * width + "".join(at[part].ljust(size) for at, size in zip(columns, widths, strict=True)) for part in (0, 1)]
    for name in names:
        texts = [mark(cells.get(name)).ljust(size) for cells, size in zip(columns.values(), widths, strict=True)]
        found.append(name.ljust(width) + "".join(texts))
    return [*found, "(=: the bare gateway does the same)"]


def mark(cell):
    return MARKS[cell["status"]] + (" =" if cell["bare_same"] else "") if cell else ""


def reasons(columns):
    """Why something was n/a, skipped or failed; each reason once."""
    found = []
    for status, title in (("n/a", "not available"), ("skip", "skipped"), ("fail", "failed")):
        where = {}
        for cell in (cell for cells in columns.values() for cell in cells if cell["status"] == status):
            where.setdefault(cell["why"], []).append(f"{cell['case']} ({cell['release']} {cell['mode']})")
        for why, names in where.items():
            found += [f"{title}: {why}", f"    {', '.join(names)}"]
    return found
