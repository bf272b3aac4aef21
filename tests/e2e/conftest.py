"""Every test runs once for each release and mode: a column of the table."""

import fcntl
import json
from pathlib import Path

import pytest

from tests.e2e import table
from tests.e2e.environment import Environment, Row
from tests.support import modes
from tests.support.outcomes import NotAvailable

# Files in the order they run: those that kill the gateway are late, then what they left in the logs.
# The rows of clients; the heavy ones run by `make e2e-clients` alone.
CLIENTS = ("sdks", "client_pages", "openclaw_clients", "refusals_shown", "open_webui", "compose")
HEAVY = ("openclaw_clients", "refusals_shown", "open_webui", "compose")
ORDER = ("reports", "scopes", "tokens", "jwt", "edge", "routes", "upstream_requests", *CLIENTS, "streams",
         "isolation", "app_users", "surface", "websocket", "gateway_credential", "gateway_restart", "logs", "onboarding")


def pytest_addoption(parser):
    group = parser.getgroup("end to end")
    group.addoption("--gateways", default="2026.3.28 2026.6.11 2026.9.6", help="releases, separated by blanks (%(default)s)")
    group.addoption("--modes", default=" ".join(modes.KNOWN), help="of: %(default)s")
    group.addoption("--without", default="", metavar="COLUMNS", help="columns to leave out, each RELEASE-MODE, separated by blanks")
    group.addoption("--clients", action="store_true", help="the rows of clients alone, with those that `make e2e` leaves out")
    group.addoption("--json", metavar="FILE", help="write everything that was seen")


def columns(config):
    all_ = [(release, mode) for release in config.getoption("gateways").split() for mode in config.getoption("modes").split()]
    return [at for at in all_ if "-".join(at) not in config.getoption("without").split()]


def pytest_report_header(config):
    without = config.getoption("without")
    said = [f"columns left out by --without: {without}"] if without else []
    return said if config.getoption("clients") else [*said, f"left to `make e2e-clients`: {', '.join(HEAVY)}"]


def pytest_ignore_collect(collection_path, config):
    name = collection_path.stem.removeprefix("test_")
    if collection_path.parent != Path(__file__).parent or name not in ORDER:
        return None
    left_out = name not in CLIENTS if config.getoption("clients") else name in HEAVY
    return True if left_out else None


def pytest_configure(config):
    unknown = [name for name in config.getoption("modes").split() if name not in modes.KNOWN]
    if unknown:
        raise pytest.UsageError(f"unknown mode {unknown[0]!r}; known: {' '.join(modes.KNOWN)}")
    if config.option.verbose == 0:
        # The names of files would stand between the lines of a column.
        config.option.verbose = -1
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Columns(config), "columns")


def pytest_generate_tests(metafunc):
    if "env" in metafunc.fixturenames:
        # With --dist loadgroup a column is the work of one process.
        params = [pytest.param(at, id="-".join(at), marks=pytest.mark.xdist_group("-".join(at))) for at in columns(metafunc.config)]
        metafunc.parametrize("env", params, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    order = {at: number for number, at in enumerate(columns(config))}
    files = [f"test_{name}.py" for name in ORDER]
    here = Path(__file__).parent

    def place(item):
        if item.path.parent != here:
            return (0, -1, 0)
        return (1, order[item.callspec.params["env"]], files.index(item.path.name))

    items.sort(key=place)


@pytest.fixture(scope="session")
def env(request, binary):
    """One release in one mode; its gateway starts when a test asks for it, and once (and again after it was killed on purpose)."""
    release, mode = request.param
    if impossible := modes.why_not(mode, release):
        raise NotAvailable(impossible)
    made = Environment(release, mode, binary)
    yield made
    made.close()


@pytest.fixture
def processors(tmp_path_factory):
    """For a test that needs all the processors there are: columns that come to it at the same moment take turns."""
    with open(tmp_path_factory.getbasetemp().parent / "processors.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def row():
    return Row()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if not hasattr(item, "callspec") or "env" not in item.callspec.params:
        return report
    release, mode = item.callspec.params["env"]
    if call.when == "call" or (call.when == "setup" and not report.passed):
        seen = item.funcargs.get("row") or Row()
        status = "n/a" if getattr(report, "not_available", False) else {"passed": "ok", "skipped": "skip"}.get(report.outcome, "fail")
        report.cell = {
            "release": release, "mode": mode, "case": case_name(item), "status": status, "bare": seen.bare,
            "through": seen.through, "bare_same": status == "ok" and seen.bare is not None and seen.bare == seen.through,
            "why": why(report), "seconds": round(call.duration, 2)}
        report.user_properties += [(name, str(report.cell[name])) for name in ("case", "bare", "through")]
        if status == "fail" and "env" in item.funcargs:
            report.sections.append(("logs", item.funcargs["env"].logs()))
    return report


def pytest_runtest_teardown(item, nextitem):
    if "env" in item.funcargs and (nextitem is None or nextitem.path != item.path):
        item.funcargs["env"].end_of_file()


def case_name(item):
    mark = item.get_closest_marker("case")
    return mark.args[0].format(**item.callspec.params)


@pytest.hookimpl(wrapper=True)
def pytest_itemcollected(item):
    result = yield
    # So that -k finds the names in the table.
    if hasattr(item, "callspec") and item.get_closest_marker("case"):
        item.extra_keyword_matches.add(case_name(item))
    return result


def why(report):
    if report.passed:
        return ""
    if report.skipped:
        return report.said
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return " ".join(text.removeprefix("AssertionError: ").partition("\nassert ")[0].split())


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report, config):
    cell = getattr(report, "cell", None)
    if cell and config.option.verbose <= 0:
        # The columns are printed each in one piece.
        return {"ok": "passed", "fail": "failed", "skip": "skipped"}.get(cell["status"], "n/a"), "", ""
    return None


class Columns:
    """Prints what was seen column by column, then the table; runs where the results come together."""

    def __init__(self, config):
        self._config = config
        self._cells = {at: [] for at in columns(config)}
        self._under_way = {}
        self._owners = {}

    def pytest_runtest_logreport(self, report):
        cell = getattr(report, "cell", None)
        if not cell:
            return
        at, worker = (cell["release"], cell["mode"]), getattr(report, "node", None)
        if self._owners.setdefault(at, worker) is not worker:
            pytest.exit(f"the column {' '.join(at)} is split over several processes: run with --dist loadgroup", returncode=4)
        if worker is None:
            self._alone(at, cell)
        elif self._under_way.setdefault(worker, at) != at:
            # This worker has begun its next column.
            self._print(self._under_way[worker])
            self._under_way[worker] = at
        self._cells[at].append(cell)

    def _alone(self, at, cell):
        if not self._cells[at]:
            self._say("\n".join(table.heading(at)))
        self._say("\n".join(table.lines(cell)))

    def _print(self, at):
        self._say("\n".join([*table.heading(at), *(line for cell in self._cells[at] for line in table.lines(cell))]))
        self._write()

    def _say(self, text):
        self._config.pluginmanager.getplugin("terminalreporter").ensure_newline()
        self._config.pluginmanager.getplugin("terminalreporter").write_line(text)

    def _write(self):
        if file := self._config.getoption("json"):
            Path(file).write_text(json.dumps([cell for cells in self._cells.values() for cell in cells], indent=1) + "\n")

    def pytest_terminal_summary(self):
        for at in self._under_way.values():
            self._print(at)
        self._write()
        if any(self._cells.values()):
            self._say("\n".join(["", *table.table(self._cells), *table.reasons(self._cells)]))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        statuses = {cell["status"] for cells in self._cells.values() for cell in cells}
        if statuses and "ok" not in statuses and session.exitstatus == pytest.ExitCode.OK:
            # Where nothing was there to be tried, nothing was proved.
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
