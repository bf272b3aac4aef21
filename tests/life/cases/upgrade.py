"""The process is replaced under load, in each of the three ways the manual offers."""

import time

from tests.support import procs
from tests.support.suite import case, need
from tests.life.load import Load, Stream, failed, kinds, slowest

RATE = 200
DRAIN = 4


def _streams_open(*streams):
    procs.until(lambda: all(s.events for s in streams), 10, "the streams' first events")


@case("upgrade, socket held")
def restart_with_socket(ctx):
    """Stop the old, start the new: what systemd does with scopeshim.socket."""
    house = ctx.house(held=True, server=f'drain = "{DRAIN}s"')
    old = house.start()
    long, short = Stream(house.port, house.token, 1000), Stream(house.port, house.token, 20)
    _streams_open(long, short)
    load = Load(house.port, house.token, RATE)
    time.sleep(1)
    begun = time.monotonic()
    old.stop(DRAIN + 10)
    started = time.monotonic()
    gap = house.start().heard("READY=1") - started
    time.sleep(1.5)
    outcomes = load.stop()
    given = long.wait(5) - begun
    need(not failed(outcomes), f"{len(failed(outcomes))} of {len(outcomes)} failed: {kinds(failed(outcomes))}")
    need(len(outcomes) > RATE * (DRAIN + 2), f"{len(outcomes)} requests are no load")
    need(short.whole, "a stream that ended within the drain was cut")
    need(not long.whole and DRAIN - 0.5 < given < DRAIN + 2, f"the long stream got {given:.1f} s of {DRAIN} s")
    return (f"{len(outcomes)} requests on new connections at {RATE}/s, 0 failed, the longest waited {slowest(outcomes):.2f} s; "
            f"the open stream got {given:.2f} s of its {DRAIN} s; from the new one's start to its READY=1 {gap * 1000:.0f} ms")


@case("upgrade, often")
def restart_often(ctx):
    """Where nothing holds the old one up; the moments of the stop fall anywhere in a request."""
    house = ctx.house(held=True)
    process, rounds, stops = house.start(), 25, []
    load = Load(house.port, house.token, RATE)
    for _ in range(rounds):
        time.sleep(0.2)
        stops.append(process.stop(10))
        process = house.start()
    outcomes = load.stop()
    need(not failed(outcomes), f"{len(failed(outcomes))} of {len(outcomes)} failed: {kinds(failed(outcomes))}")
    return (f"{rounds} restarts, {len(outcomes)} requests on new connections, 0 failed, the longest waited "
            f"{slowest(outcomes):.2f} s; a stop took at most {max(stops):.2f} s")


@case("upgrade, side by side")
def side_by_side(ctx):
    """The new one takes the same socket before the old one lets go: nobody waits for a drain."""
    house = ctx.house(held=True, server=f'drain = "{DRAIN}s"')
    old = house.start(runtime="a")
    stream = Stream(house.port, house.token, 25)
    _streams_open(stream)
    load = Load(house.port, house.token, RATE)
    time.sleep(1)
    house.start(runtime="b")
    took = old.stop(DRAIN + 10)
    time.sleep(1)
    outcomes = load.stop()
    stream.wait(5)
    need(not failed(outcomes), f"{len(failed(outcomes))} of {len(outcomes)} failed: {kinds(failed(outcomes))}")
    need(stream.whole, "the open stream was cut within its time")
    need(slowest(outcomes) < 2, f"a request waited {slowest(outcomes):.1f} s")
    return (f"{len(outcomes)} requests, 0 failed, the longest took {slowest(outcomes):.2f} s; "
            f"the open stream came to its end, the old process {took:.1f} s after its SIGTERM")


@case("upgrade, no socket")
def plain(ctx):
    """A plain service: what is lost is what comes between the stop and the next start, and it is refused at once."""
    house = ctx.house(server=f'drain = "{DRAIN}s"')
    old = house.start()
    stream = Stream(house.port, house.token, 20)
    _streams_open(stream)
    load = Load(house.port, house.token, RATE)
    time.sleep(1)
    begun = time.monotonic()
    old.stop(DRAIN + 10)
    new = house.start()
    ready = new.heard("READY=1")
    time.sleep(1)
    outcomes = load.stop()
    stream.wait(5)
    lost = failed(outcomes)
    early = [o for o in lost if o.ended < begun or o.begun > ready]
    need(not early, f"lost outside of the restart: {kinds(early)}")
    need(all(o.status == 0 for o in lost), f"{kinds(lost)}")
    need(stream.whole, "a stream that ended within the drain was cut")
    refused = [o for o in lost if o.why == "ConnectionRefusedError"]
    need(slowest(lost) < 1, "a lost request waited before it was lost")
    return (f"{len(lost)} of {len(outcomes)} lost ({len(refused)} refused at once), all within the {ready - begun:.2f} s of the "
            f"restart; the open stream came to its end")
