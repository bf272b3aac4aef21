"""What somebody costs who is there and does nothing."""

import http.client
import os
import resource
from pathlib import Path

from tests.resilience.load import Load, Stream, failed, kinds
from tests.support import procs, wsclient

EACH, BOUND_KIB, RATE = 500, 150, 200


def test_memory_of_idle_clients(binary, new_environment, say):
    # Each is a descriptor here and two there.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    figures, said = {}, []
    ways = {
        "resting connection": lambda env: rested(env),
        "open stream": lambda env: Stream(env.port, env.token, 1000, 60_000),
        "WebSocket": lambda env: socket(env),
    }
    for name, make in ways.items():
        env = new_environment(more='\n[limits]\nkeepalive = "10m"')
        process = env.start(env={"MIMALLOC_PURGE_DELAY": "0"})
        # The first ones build what all share.
        first = [make(env) for _ in range(20)]
        procs.until(lambda: env.ask() == 200, 10, "an answer")
        before, files = procs.steady(process.rss, 10, "memory before"), process.descriptors()
        more = [make(env) for _ in range(EACH)]
        if name == "open stream":
            procs.until(lambda: all(s.events for s in more), 60, "the streams' first events")
        each = (procs.steady(process.rss, 10, f"memory with every {name}") - before) / EACH
        assert process.descriptors() >= files + EACH, (
            f"{EACH} {name}s are {process.descriptors() - files} descriptors"
        )
        assert each < BOUND_KIB, f"{each:.0f} KiB for each {name}"
        for one in first + more:
            one.close()
        procs.until(lambda: process.descriptors() < files, 20, f"the end of every {name}")
        said.append(f"{each:.1f} KiB for each {name}" + (f" (the process alone: {before / 1024:.1f} MiB)" if not figures else ""))
        figures[name] = each
        process.stop()
    say(", ".join(said) + f"; {EACH} each, {build(binary)} build")


def test_cost_of_a_request(binary, new_environment, say):
    env = new_environment()
    process = env.start()
    env.ask()
    before = cpu(process)
    load = Load(env.port, env.token, RATE)
    load.wait_for(5 * RATE)
    outcomes = load.stop()
    used = cpu(process) - before
    assert not failed(outcomes), f"{kinds(failed(outcomes))}"
    say(f"{used / len(outcomes) * 1e6:.0f} us of CPU for each of {len(outcomes)} requests, each on a connection of its own, "
        f"{RATE}/s, {build(binary)} build")


def cpu(process):
    """Seconds, of user and system."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def build(binary):
    return binary.parent.name


def rested(env):
    connection = http.client.HTTPConnection("127.0.0.1", env.port, timeout=30)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {env.token}"})
    assert connection.getresponse().read(), "no answer"
    return connection


def socket(env):
    one = wsclient.Socket(f"http://127.0.0.1:{env.port}", [("authorization", f"Bearer {env.token}")])
    one.connect(scopes=("operator.read",))
    return one
