"""What must hold on a real tailnet, in each way that tailscaled networks beside the proxy."""

import os
import re
import signal
import threading
import time

import pytest

from tests.support import procs, shim
from tests.support.outcomes import NotAvailable
from tests.tailnet.lab import CAPABILITY

# An answer of tailscaled holds for ten seconds, and open streams are asked about every two.
CHANGE_SECONDS = 20


def expect(got, status, code=None):
    if (got.status, got.code) != (status, code):
        pytest.fail(f"wanted {status} {code or ''}, got {got}: {got.text[:300]}")
    return str(got)


def eventually(probe, what, seconds=CHANGE_SECONDS):
    started = time.monotonic()
    procs.until(probe, seconds, what, every=0.25)
    return f"{time.monotonic() - started:.1f} s"


def test_user_in(lab, say):
    seen = expect(lab.ask(lab.user), 200)
    eventually(lambda: f'"principal":"{lab.login}"' in lab.log(), f"{lab.login} is in the log", 5)
    say(f"{seen} as {lab.login}")


def test_tagged_node_in(lab, say):
    seen = expect(lab.ask(lab.tagged), 200)
    eventually(lambda: '"principal":"bot.tailnet.test"' in lab.log(), "the node's name is in the log", 5)
    say(f"{seen} as bot.tailnet.test")


def test_stranger_out(lab, say):
    say(expect(lab.ask(lab.stranger), 403, "missing_scope"))


def test_local_process_out(lab, say):
    if lab.kind != "userspace":
        raise NotAvailable("with a TUN device no caller of the tailnet arrives on loopback")
    # On loopback, where the tailnet's callers arrive too: no node of the tailnet is at the other end.
    say(expect(lab.ask_local(lab.port), 401, "tailnet_unknown_peer"))


def test_narrower_header_holds(lab, say):
    body = {"model": "openclaw", "messages": [{"role": "user", "content": "hello"}]}
    got = lab.ask(lab.user, "/v1/chat/completions", [("x-openclaw-scopes", "operator.read")], method="POST", body=body)
    say(expect(got, 403, "missing_scope"))


def test_bad_bearer_out(lab, say):
    say(expect(lab.ask(lab.user, headers=[("Authorization", "Bearer nobody-s")]), 401, "credential_unknown"))


def test_good_bearer_in(lab, say):
    say(expect(lab.ask(lab.stranger, headers=shim.bearer("owner")), 200))


def test_forged_headers_out(lab, say):
    forged = [("Tailscale-User-Login", lab.login), ("X-Forwarded-For", lab.user.ip), ("X-Forwarded-User", lab.login)]
    first = expect(lab.ask(lab.stranger, headers=forged), 403, "missing_scope")
    say(f"{first}; by serve {expect(lab.ask(lab.stranger, headers=forged, served=True), 403, 'missing_scope')}")


def test_serve_user_in(lab, say):
    say(expect(lab.ask(lab.user, served=True), 200))


def test_serve_tagged_node_in(lab, say):
    say(expect(lab.ask(lab.tagged, served=True), 200))


def test_serve_stranger_out(lab, say):
    say(expect(lab.ask(lab.stranger, served=True), 403, "missing_scope"))


def test_header_and_whois_disagree(lab, say):
    local = [("X-Forwarded-For", lab.tagged.ip), ("Tailscale-User-Login", lab.login)]
    first = expect(lab.ask_local(lab.serve_port, local), 403, "tailnet_mismatch")
    local = [("X-Forwarded-For", lab.stranger.ip), ("Tailscale-User-Login", lab.login)]
    expect(lab.ask_local(lab.serve_port, local), 403, "tailnet_mismatch")
    local = [("X-Forwarded-For", "203.0.113.9"), ("Tailscale-User-Login", lab.login)]
    say(f"{first}; {expect(lab.ask_local(lab.serve_port, local), 401, 'tailnet_unknown_peer')}")


def test_serve_without_its_headers_out(lab, say):
    say(expect(lab.ask_local(lab.serve_port), 401, "tailnet_headers"))


def test_two_hundred_at_once(lab, say):
    got, lock = {}, threading.Lock()
    nodes = [lab.user, lab.tagged, lab.stranger, lab.user]
    before = lab.metric('scopeshim_tailnet_whois_total{result="found"}')

    def one(node):
        try:
            seen = str(lab.ask(node, seconds=90))
        except OSError as why:
            seen = f"{type(why).__name__}: {why}"
        with lock:
            key = (node.name, seen)
            got[key] = got.get(key, 0) + 1

    started = time.monotonic()
    threads = [threading.Thread(target=one, args=(nodes[i % 4],)) for i in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if got != {("alice", "200"): 100, ("bot", "200"): 50, ("mallory", "403 missing_scope"): 50}:
        pytest.fail(f"got {got}")
    asked = lab.metric('scopeshim_tailnet_whois_total{result="found"}') - before
    if lab.kind == "tun" and asked > 10:
        pytest.fail(f"three nodes were asked about {asked:.0f} times")
    say(f"150 x 200, 50 x 403 in {time.monotonic() - started:.1f} s, {asked:.0f} whois")


def test_sse_stream(lab, say):
    lab.model.pause = 0.3
    events = list(lab.stream(lab.user))
    lab.model.pause = 0.05
    if not events or events[-1][1] != "data: [DONE]":
        pytest.fail(f"the stream ended with {events[-1:]}")
    words = [at for at, line in events if '"content":"' in line]
    spread = words[-1] - words[0]
    if len(words) < 4 or spread < 0.9:
        pytest.fail(f"{len(words)} words within {spread:.2f} s: they came in one piece")
    say(f"{len(words)} words over {spread:.1f} s, then [DONE]")


def test_capability_in(lab, say):
    expect(lab.ask(lab.stranger), 403, "missing_scope")
    lab.control.put("/test/caps", {CAPABILITY: [{"scopes": ["operator.read", "operator.admin"]}]})
    came = eventually(lambda: lab.ask(lab.stranger).status == 200, "the capability counts")
    # `max_scopes` keeps operator.admin out.
    expect(lab.ask(lab.stranger, "/plugins/unlisted"), 403, "unknown_route")
    lab.control.put("/test/caps", {})
    went = eventually(lambda: lab.ask(lab.stranger).status == 403, "the capability is gone")
    say(f"200 after {came}, admin 403, 403 again after {went}")


def test_tailnet_change_ends_stream(lab, say):
    lab.model.pause = 30
    stream = lab.stream(lab.tagged)
    next(stream)
    lab.control.put("/test/tags/bot", ["tag:retired"])
    started = time.monotonic()
    for _ in stream:
        if time.monotonic() - started > CHANGE_SECONDS:
            pytest.fail("the stream goes on")
    took = time.monotonic() - started
    lab.model.pause = 0.05
    if took > CHANGE_SECONDS:
        pytest.fail(f"the stream went on for {took:.1f} s")
    expect(lab.ask(lab.tagged), 403, "missing_scope")
    lab.control.put("/test/tags/bot", ["tag:bot"])
    eventually(lambda: lab.ask(lab.tagged).status == 200, "bot is back")
    say(f"ended {took:.1f} s after the tag was gone")


def test_policy_change_ends_stream(lab, say):
    lab.model.pause = 30
    stream = lab.stream(lab.user)
    next(stream)
    started = time.monotonic()
    lab.write_config(grants=False)
    lab.reload()
    list(stream)
    took = time.monotonic() - started
    lab.model.pause = 0.05
    refused = expect(lab.ask(lab.user), 403, "missing_scope")
    lab.write_config()
    lab.reload()
    expect(lab.ask(lab.user), 200)
    if took > 5:
        pytest.fail(f"the stream went on for {took:.1f} s")
    say(f"ended after {took:.1f} s, then {refused}")


def test_tailscaled_hangs(lab, say):
    eventually(lambda: lab.ready()[0] == 200, "ready before")
    sock = lab.connect(lab.user)
    lab.server.signal(signal.SIGSTOP)
    try:
        sock.close()
        started = time.monotonic()
        got = local_tailnet_ask(lab)
        took = time.monotonic() - started
        expect(got, 503, "tailnet_unavailable")
        if took > 5:
            pytest.fail(f"the answer took {took:.1f} s")
        seen = eventually(lambda: lab.ready()[0] == 503, "readiness says so")
    finally:
        lab.server.signal(signal.SIGCONT)
    back = eventually(lambda: ok(lab, lab.user), "alice is back", 60)
    say(f"503 in {took:.1f} s, not ready after {seen}, back in {back}")


def test_tailscaled_stopped_and_back(lab, say):
    eventually(lambda: lab.ready()[0] == 200, "ready before")
    lab.server.stop()
    gone = eventually(lambda: lab.ready()[0] == 503, "readiness says so")
    got = expect(local_tailnet_ask(lab), 503, "tailnet_unavailable")
    if "tailscaled at" not in lab.ready()[1] or lab.metric("scopeshim_tailnet_unavailable") != 1:
        pytest.fail("readiness and metric do not say why")
    if "tailscaled does not answer" not in lab.log():
        pytest.fail("the log does not say so")
    expect(lab.ask_local(lab.serve_port, shim.bearer("owner")), 200)
    lab.server.start()
    back = eventually(lambda: ok(lab, lab.user), "alice is back", 60)
    eventually(lambda: ok(lab, lab.tagged) and ok(lab, lab.user, served=True), "bot and serve are back", 60)
    eventually(lambda: lab.ready()[0] == 200 and "tailscaled answers again" in lab.log(), "ready again")
    say(f"not ready after {gone}, {got}, tokens go on, back in {back}")


def test_explain_and_doctor(lab, say):
    command = [str(lab.binary), "explain", "--config", str(lab.config), "--as", f"tailnet-user:{lab.login}",
               "GET", "/v1/models"]
    said = procs.run(command, dict(os.environ), 30).stdout
    if "outcome   allowed" not in said or "(by tailnet)" not in said:
        pytest.fail(said)
    command = [str(lab.binary), "doctor", "--config", str(lab.config)]
    command = lab.namespace.command(*command) if lab.namespace else command
    said = procs.run(command, dict(os.environ), 90).stdout
    identity = next((line for line in said.splitlines() if re.search(r"\bidentity\b", line)), said[-300:])
    if "the tailnet" not in identity:
        pytest.fail(f"doctor says: {identity}")
    say("both know it")


def ok(lab, node, served=False):
    """A restarted tailscaled refuses for a while, or connects and says nothing."""
    try:
        return lab.ask(node, served=served, seconds=5).status == 200
    except OSError:
        return False


def local_tailnet_ask(lab):
    """A caller without a credential, from this machine: its tailnet is away. By serve's listener, which asks
    about an address that nobody was asked about before."""
    return lab.ask_local(lab.serve_port, [("X-Forwarded-For", "100.64.9.9")])
