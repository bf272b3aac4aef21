"""What all suites share: the program under test, what a test says of what it saw, and what a skipped check means."""

import atexit
import os
import signal
from pathlib import Path

import pytest

from tests.support import procs
from tests.support.outcomes import NotAvailable


def pytest_addoption(parser):
    parser.addoption("--binary", default="target/debug/scopeshim", help="the program under test (%(default)s)")


def pytest_configure():
    # What is left when fixtures could not clean up, too.
    atexit.register(procs.kill_all)

    def stop(number, _frame):
        raise KeyboardInterrupt(f"signal {number}")

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


@pytest.fixture(scope="session")
def binary(pytestconfig):
    found = Path(pytestconfig.getoption("binary")).resolve()
    if not os.access(found, os.X_OK):
        pytest.exit(f"{found} is not there; build it first", returncode=4)
    return found


@pytest.fixture
def say(record_property):
    """Notes in a few words what was seen; it stands beside the test's name in the output and in JUnit's file."""
    def note(text):
        record_property("said", text)
    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.said = dict(item.user_properties).get("said", "")
    if report.skipped and not hasattr(report, "wasxfail"):
        why = str(call.excinfo.value)
        report.said = why
        report.not_available = isinstance(call.excinfo.value, NotAvailable)
        # A check that is skipped where everything can be had is a check that failed.
        if os.environ.get("CI") and not report.not_available:
            report.outcome, report.longrepr = "failed", f"skipped, which counts as failed where CI is set: {why}"
    return report


def pytest_report_teststatus(report):
    if report.skipped and getattr(report, "not_available", False):
        return "n/a", "n", f"n/a   {report.said}"
    if report.skipped:
        return "skipped", "s", f"skip  {getattr(report, 'said', '')}"
    if report.when == "call" and report.passed:
        return "passed", ".", " ".join(filter(None, ["ok   ", report.said, f"({report.duration:.1f} s)"]))
    return None
