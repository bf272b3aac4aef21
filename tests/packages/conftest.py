"""The packages, and a system for each kind of them: its tests run in order, each finds what those before it left."""

from pathlib import Path

import pytest

from tests.packages import tools
from tests.packages.dist import Dist
from tests.packages.kinds import KINDS
from tests.packages.machine import Machine

ORDER = ("artifacts", "processors", "arriving", "serving", "stopping", "leaving")


def pytest_addoption(parser):
    parser.addoption("--packages", metavar="FOLDER", default="dist", help="the folder with the packages (%(default)s)")


def pytest_generate_tests(metafunc):
    if "kind" in metafunc.fixturenames:
        # With --dist loadgroup a system is the work of one process.
        params = [pytest.param(kind, id=kind.name, marks=pytest.mark.xdist_group(kind.name)) for kind in KINDS]
        metafunc.parametrize("kind", params, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    files = [f"test_{name}.py" for name in ORDER]
    here = Path(__file__).parent

    def place(item):
        if item.path.parent != here:
            return (-1, -1)
        kind = item.callspec.params["kind"] if hasattr(item, "callspec") else None
        return (KINDS.index(kind) + 1 if kind else 0, files.index(item.path.name))

    items.sort(key=place)


@pytest.fixture(scope="session")
def dist(pytestconfig, tmp_path_factory):
    try:
        return Dist(Path(pytestconfig.getoption("packages")).resolve(), tmp_path_factory.mktemp("packages"))
    except FileNotFoundError as why:
        pytest.exit(str(why), returncode=4)


@pytest.fixture(scope="session")
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def machine(kind, dist):
    """One that could not be had is not tried again."""
    made = Machine(tools.root(kind.suite), dist.folder / kind.name)
    yield made
    made.close()
