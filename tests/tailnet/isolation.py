"""The suite runs in a network namespace of its own: no firewall of this machine stands between the nodes, and nothing gets out.

What the suite needs from elsewhere is had before, as nothing can be fetched in there.
"""

import os
import subprocess
import sys

from tests.support import install
from tests.tailnet.nodes import Unavailable, build, why_no_namespaces

DEFAULT_GATEWAY = "2026.3.28"
INSIDE = "SCOPESHIM_ISOLATED"


def enter(command, options):
    """The command as it runs in there; as it is, where there is no such namespace to be had."""
    try:
        build()
        install.releases([_gateway(options)])
    except (Unavailable, install.InstallError) as why:
        # The tests are skipped, and say why.
        print(why, file=sys.stderr)
        return command
    if why_no_namespaces():
        return command
    os.environ.update({install.OFFLINE: "1", INSIDE: "1"})
    return ["unshare", "--net", *command]


def isolated():
    return bool(os.environ.get(INSIDE))


def _gateway(options):
    for number, option in enumerate(options):
        if option.startswith("--gateway="):
            return option.partition("=")[2]
        if option == "--gateway":
            return options[number + 1]
    return DEFAULT_GATEWAY


def settle():
    """Makes the empty namespace look like a machine with a network: tailscaled waits for one."""
    for command in (
        "ip link set lo up", "ip link add nowhere type veth peer name nobody", "ip addr add 198.18.78.1/30 dev nowhere",
        "ip link set nobody up", "ip link set nowhere up", "ip route add default via 198.18.78.2",
    ):
        subprocess.run(command.split(), capture_output=True, text=True, check=True)
