"""Every test runs in a tailnet of its own kind: tailscaled in userspace networking, and with a TUN device in a namespace."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support import install
from tests.tailnet import isolation
from tests.tailnet.lab import Lab
from tests.tailnet.nodes import Unavailable, build, why_no_namespaces

KINDS = ("userspace", "tun")


def pytest_addoption(parser):
    parser.addoption("--gateway", default=isolation.DEFAULT_GATEWAY, help="the release behind scopeshim (%(default)s)")


def pytest_configure():
    if isolation.isolated():
        isolation.settle()


@pytest.fixture(scope="session", params=KINDS)
def lab(request, binary):
    try:
        build()
        install.releases([request.config.getoption("gateway")])
    except (Unavailable, install.InstallError) as why:
        pytest.skip(str(why))
    if request.param == "tun" and not isolation.isolated():
        pytest.skip(why_no_namespaces() or "not in a network namespace: run `python3 -m tests tailnet`")
    # Paths of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="scopeshim-tailnet-"))
    try:
        made = Lab(request.param, request.config.getoption("gateway"), binary, folder)
    except Unavailable as why:
        pytest.skip(str(why))
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "lab" in item.funcargs:
        report.sections.append(("scopeshim's log", "\n".join(line[:400] for line in item.funcargs["lab"].log().splitlines()[-12:])))
    return report
