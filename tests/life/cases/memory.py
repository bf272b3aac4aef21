"""What somebody costs who is there and does nothing."""

import http.client
import os
import resource
import time
from pathlib import Path

from tests.support import procs
from tests.support import wsclient
from tests.support.suite import case, need
from tests.life.load import Load, Stream, failed, kinds

EACH, BOUND_KIB, RATE = 500, 150, 200


@case("memory, idle")
def memory(ctx):
    # Each is a descriptor here and two there.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    figures, said = {}, []
    ways = {
        "resting connection": lambda house: rested(house),
        "open stream": lambda house: Stream(house.port, house.token, 1000, 60_000),
        "WebSocket": lambda house: socket(house),
    }
    for name, make in ways.items():
        house = ctx.house(server='keepalive = "10m"')
        process = house.start(env={"MIMALLOC_PURGE_DELAY": "0"})
        # The first ones build what all share.
        first = [make(house) for _ in range(20)]
        procs.until(lambda: house.ask() == 200, 10, "an answer")
        time.sleep(0.5)
        before, files = process.rss(), process.descriptors()
        more = [make(house) for _ in range(EACH)]
        if name == "open stream":
            procs.until(lambda: all(s.events for s in more), 60, "the streams' first events")
        time.sleep(1)
        each = (process.rss() - before) / EACH
        need(process.descriptors() >= files + EACH, f"{EACH} {name}s are {process.descriptors() - files} descriptors")
        need(each < BOUND_KIB, f"{each:.0f} KiB for each {name}")
        for one in first + more:
            one.close()
        procs.until(lambda: process.descriptors() < files, 20, f"the end of every {name}")
        said.append(f"{each:.1f} KiB for each {name}" + (f" (the process alone: {before / 1024:.1f} MiB)" if not figures else ""))
        figures[name] = each
        process.stop()
    return ", ".join(said) + f"; {EACH} each, {build(ctx)} build"


@case("cost of a request")
def cost(ctx):
    house = ctx.house()
    process = house.start()
    house.ask()
    before = cpu(process)
    outcomes = Load(house.port, house.token, RATE)
    time.sleep(5)
    outcomes = outcomes.stop()
    used = cpu(process) - before
    need(not failed(outcomes), f"{kinds(failed(outcomes))}")
    return (f"{used / len(outcomes) * 1e6:.0f} us of CPU for each of {len(outcomes)} requests, each on a connection of its own, "
            f"{RATE}/s, {build(ctx)} build")


def cpu(process):
    """Seconds, of user and system."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def build(ctx):
    return ctx.binary.parent.name


def rested(house):
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {house.token}"})
    need(connection.getresponse().read(), "no answer")
    return connection


def socket(house):
    one = wsclient.Socket(f"http://127.0.0.1:{house.port}", [("authorization", f"Bearer {house.token}")])
    one.connect(scopes=("operator.read",))
    return one
