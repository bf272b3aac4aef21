"""JSON bodies: this proxy's reading of them (tests/it/bodies.rs) against JSON.parse of each gateway's Node."""

from tests.support import properties


def test_bodies_are_read_as_the_gateway_reads_them(release, pytestconfig, say):
    properties.run("bodies", release, pytestconfig.getoption("cases"))
    say("3 properties agree")
