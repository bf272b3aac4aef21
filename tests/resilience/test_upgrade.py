"""The process is replaced under load, in each of the three ways the manual offers."""

import time

from tests.resilience.load import Load, Stream, failed, kinds, slowest
from tests.support import procs

RATE = 200
DRAIN = 4


def _streams_open(*streams):
    procs.until(lambda: all(s.events for s in streams), 10, "the streams' first events")


def test_a_restart_with_the_socket_held(new_environment, say):
    """Stop the old, start the new: what systemd does with scopeshim.socket."""
    env = new_environment(held=True, server=f'drain = "{DRAIN}s"')
    old = env.start()
    long, short = Stream(env.port, env.token, 1000), Stream(env.port, env.token, 20)
    _streams_open(long, short)
    load = Load(env.port, env.token, RATE)
    load.wait_for(RATE)
    begun = time.monotonic()
    old.stop(DRAIN + 10)
    started = time.monotonic()
    gap = env.start().heard("READY=1") - started
    load.wait_for(RATE * 3 // 2)
    outcomes = load.stop()
    given = long.wait(5) - begun
    assert not failed(outcomes), f"{len(failed(outcomes))} of {len(outcomes)} failed: {kinds(failed(outcomes))}"
    assert len(outcomes) > RATE * (DRAIN + 2), f"{len(outcomes)} requests are no load"
    assert short.whole, "a stream that ended within the drain was cut"
    assert not long.whole and DRAIN - 0.5 < given < DRAIN + 2, f"the long stream got {given:.1f} s of {DRAIN} s"
    say(f"{len(outcomes)} requests on new connections at {RATE}/s, 0 failed, the longest waited {slowest(outcomes):.2f} s; "
        f"the open stream got {given:.2f} s of its {DRAIN} s; from the new one's start to its READY=1 {gap * 1000:.0f} ms")


def test_many_restarts(new_environment, say):
    """Where nothing holds the old one up; the moments of the stop fall anywhere in a request."""
    env = new_environment(held=True)
    process, rounds, stops = env.start(), 25, []
    load = Load(env.port, env.token, RATE)
    for _ in range(rounds):
        load.wait_for(RATE // 5)
        stops.append(process.stop(10))
        process = env.start()
    outcomes = load.stop()
    assert not failed(outcomes), f"{len(failed(outcomes))} of {len(outcomes)} failed: {kinds(failed(outcomes))}"
    say(f"{rounds} restarts, {len(outcomes)} requests on new connections, 0 failed, the longest waited "
        f"{slowest(outcomes):.2f} s; a stop took at most {max(stops):.2f} s")


def test_the_next_process_beside_the_old_one(new_environment, say):
    """The new one takes the same socket before the old one lets go: nobody waits for a drain."""
    env = new_environment(held=True, server=f'drain = "{DRAIN}s"')
    old = env.start(runtime="a")
    stream = Stream(env.port, env.token, 25)
    _streams_open(stream)
    load = Load(env.port, env.token, RATE)
    load.wait_for(RATE)
    env.start(runtime="b")
    took = old.stop(DRAIN + 10)
    load.wait_for(RATE)
    outcomes = load.stop()
    stream.wait(5)
    assert not failed(outcomes), f"{len(failed(outcomes))} of {len(outcomes)} failed: {kinds(failed(outcomes))}"
    assert stream.whole, "the open stream was cut within its time"
    assert slowest(outcomes) < 2, f"a request waited {slowest(outcomes):.1f} s"
    say(f"{len(outcomes)} requests, 0 failed, the longest took {slowest(outcomes):.2f} s; "
        f"the open stream came to its end, the old process {took:.1f} s after its SIGTERM")


def test_a_restart_without_the_socket(new_environment, say):
    """A plain service: what is lost is what comes between the stop and the next start, and it is refused at once."""
    env = new_environment(server=f'drain = "{DRAIN}s"')
    old = env.start()
    stream = Stream(env.port, env.token, 20)
    _streams_open(stream)
    load = Load(env.port, env.token, RATE)
    load.wait_for(RATE)
    begun = time.monotonic()
    old.stop(DRAIN + 10)
    new = env.start()
    ready = new.heard("READY=1")
    load.wait_for(RATE)
    outcomes = load.stop()
    stream.wait(5)
    lost = failed(outcomes)
    early = [o for o in lost if o.ended < begun or o.begun > ready]
    assert not early, f"lost outside of the restart: {kinds(early)}"
    assert all(o.status == 0 for o in lost), f"{kinds(lost)}"
    assert stream.whole, "a stream that ended within the drain was cut"
    refused = [o for o in lost if o.why == "ConnectionRefusedError"]
    assert slowest(lost) < 1, "a lost request waited before it was lost"
    say(f"{len(lost)} of {len(outcomes)} lost ({len(refused)} refused at once), all within the {ready - begun:.2f} s of the "
        f"restart; the open stream came to its end")
