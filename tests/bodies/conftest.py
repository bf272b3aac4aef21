"""Once for each release of the gateway."""


def pytest_addoption(parser):
    parser.addoption("--gateways", default="2026.3.28 2026.6.11 2026.9.6", help="releases, separated by blanks (%(default)s)")
    parser.addoption("--cases", default="20000", help="how many generated bodies for each release and property (%(default)s)")


def pytest_generate_tests(metafunc):
    if "release" in metafunc.fixturenames:
        metafunc.parametrize("release", metafunc.config.getoption("gateways").split())
