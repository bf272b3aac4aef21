"""Once for each release of the gateway."""

from tests.support import properties
from tests.support.properties import pytest_generate_tests  # noqa: F401  pytest finds it here


def pytest_addoption(parser):
    properties.options(parser, "20000")
