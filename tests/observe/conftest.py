"""Processes with every sort of caller, and the tools that look at them. What started lives until the end."""

from pathlib import Path

import pytest

from tests.observe import tools
from tests.observe.browser import Browser
from tests.observe.harness import Harnesses


def pytest_addoption(parser):
    group = parser.getgroup("observe")
    group.addoption("--many", type=int, default=20_000, help="different paths and tokens for the test about series (%(default)s)")
    group.addoption("--shots", metavar="FOLDER", help="leave the page's screenshots there")


@pytest.fixture
def many(pytestconfig):
    return pytestconfig.getoption("many")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("observe")


@pytest.fixture(scope="session")
def shots(pytestconfig, folder):
    wanted = pytestconfig.getoption("shots")
    where = Path(wanted).resolve() if wanted else folder
    where.mkdir(parents=True, exist_ok=True)
    return where


@pytest.fixture(scope="session")
def harnesses(binary, folder):
    made = Harnesses(binary, folder)
    yield made
    made.close()


@pytest.fixture(scope="session")
def harness(harnesses):
    """The one that most tests share."""
    return harnesses.new()


@pytest.fixture(scope="session")
def promtool():
    return tools.prometheus()[0]


@pytest.fixture
def open_browser(harnesses, folder, shots):
    opened = []

    def act(url):
        opened.append(Browser(url, folder, shots, harnesses.seen))
        return opened[-1]

    yield act
    for each in opened:
        each.close()
