"""Request paths: this proxy's reading of them (tests/it/paths.rs) against the code of real gateway releases."""

from tests.support import properties


def test_paths_are_read_as_the_gateway_reads_them(release, pytestconfig, say):
    properties.run("paths", release, pytestconfig.getoption("cases"))
    say("3 properties agree")
