"""A configuration with its folders for each test, in which processes can be started; one fake gateway behind all."""

import contextlib
import itertools

import pytest

from tests.resilience.environment import Environment
from tests.support.fake_gateway import FakeGateway


def pytest_addoption(parser):
    parser.addoption("--seconds", type=int, default=120, help="of the soak (%(default)s)")


@pytest.fixture
def seconds(pytestconfig):
    return pytestconfig.getoption("seconds")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("resilience")


@pytest.fixture(scope="session")
def gateway(folder):
    made = FakeGateway(folder)
    yield made
    made.stop()


@pytest.fixture
def cleanup():
    """Its callbacks are called when the test is over, the last one first."""
    with contextlib.ExitStack() as stack:
        yield stack


NUMBERS = itertools.count(1)


@pytest.fixture
def new_environment(binary, folder, gateway, cleanup):
    def make(**how):
        made = Environment(binary, folder / f"environment-{next(NUMBERS)}", gateway, **how)
        cleanup.callback(made.close)
        return made
    return make
