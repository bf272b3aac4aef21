"""The package for arm64 of `make packages`, and the program in it: what is tested is what is published."""

import subprocess
from pathlib import Path

import pytest

from tests.arm64 import emulator

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--packages", metavar="FOLDER", default="dist", help="the folder with the packages (%(default)s)")
    parser.addoption("--program", metavar="FILE", help="another program than the package's, such as a debug build")


@pytest.fixture(scope="session")
def deb(pytestconfig):
    folder = Path(pytestconfig.getoption("packages"))
    found = sorted(folder.glob("*_arm64.deb"))
    if len(found) != 1:
        pytest.exit(f'{folder} holds {len(found)} packages for arm64: make packages ARCHS="amd64 arm64"', returncode=4)
    return found[0].resolve()


@pytest.fixture(scope="session")
def program(pytestconfig, tmp_path_factory, request):
    """A path that can be run on this machine."""
    folder = tmp_path_factory.mktemp("program")
    given = pytestconfig.getoption("program")
    if not given:
        subprocess.run(["dpkg-deb", "--extract", request.getfixturevalue("deb"), folder], check=True, timeout=60)
        given = folder / "usr/bin/scopeshim"
    return emulator.script(Path(given).resolve(), folder)


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    with emulator.kernel():
        made = emulator.Debian(tmp_path_factory.mktemp("debian"))
        yield made
        made.close()
