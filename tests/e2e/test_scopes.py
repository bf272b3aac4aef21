"""Every state of x-openclaw-scopes on a route that reads and one that writes.

The caller may do everything, so what is seen is the header alone, and through
scopeshim it is the same on every release and in every mode.
"""

import pytest

from tests.e2e.environment import case

# Name, headers, expected on (read, write): None is let through.
READ, WRITE, ANY = "missing scope: operator.read", "missing scope: operator.write", ""
TABLE = [
    ("absent", [], None, None),
    ("empty", [""], READ, WRITE),
    ("comma-only", [","], READ, WRITE),
    ("read", ["operator.read"], None, WRITE),
    ("write", ["operator.write"], None, None),
    ("admin", ["operator.admin"], None, None),
    ("approvals", ["operator.approvals"], READ, WRITE),
    ("blank-separated", ["operator.read operator.write"], None, None),
    ("comma-and-blanks", ["operator.read , operator.write"], None, None),
    ("two-lines", ["operator.read", "operator.write"], None, None),
    ("unknown", ["operator.nonsense"], READ, WRITE),
    ("uppercase", ["OPERATOR.READ"], ANY, ANY),
]


def _short(read, write):
    def one(answer, passed, name):
        if answer.status == passed:
            return "OK"
        return name if f"missing scope: operator.{'read' if name == 'R' else 'write'}" in answer.message() \
            else str(answer.status)

    return f"{one(read, 200, 'R')}/{one(write, 400, 'W')}"


@case("scopes.{name}")
@pytest.mark.parametrize(("name", "values", "read_expected", "write_expected"), TABLE, ids=[entry[0] for entry in TABLE])
def test_scopes_header(env, row, name, values, read_expected, write_expected):
    headers = [("x-openclaw-scopes", value) for value in values]
    _, (read, write) = row.both(
        env, lambda side: (side.models(*headers), side.chat_gate(*headers)), show=lambda pair: _short(*pair))
    for answer, passed, expected in ((read, 200, read_expected), (write, 400, write_expected)):
        if expected is None:
            assert answer.status == passed, f"expected {passed}, got {answer.brief()}"
        else:
            row.refused(answer, 403, expected)

