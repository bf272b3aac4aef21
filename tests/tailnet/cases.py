"""What must hold on a real tailnet. A case gets the lab, and says in a few words what it saw."""

import os
import re
import signal
import threading
import time

from tests.support import procs
from tests.support import shim
from tests.tailnet.lab import CAPABILITY

# An answer of tailscaled holds for ten seconds, and open streams are asked about every two.
CHANGE_SECONDS = 20

CASES = []


class Miss(Exception):
    """The proxy did something else than it should."""


def case(only=None):
    def register(function):
        CASES.append((function.__name__.replace("_", "-"), function, only))
        return function
    return register


def expect(got, status, code=None):
    if (got.status, got.code) != (status, code):
        raise Miss(f"wanted {status} {code or ''}, got {got}: {got.text[:300]}")
    return str(got)


def eventually(probe, what, seconds=CHANGE_SECONDS):
    started = time.monotonic()
    procs.until(probe, seconds, what, every=0.25)
    return f"{time.monotonic() - started:.1f} s"


@case()
def user_in(lab):
    seen = expect(lab.ask(lab.user), 200)
    eventually(lambda: f'"principal":"{lab.login}"' in lab.log(), f"{lab.login} is in the log", 5)
    return f"{seen} as {lab.login}"


@case()
def tagged_node_in(lab):
    seen = expect(lab.ask(lab.tagged), 200)
    eventually(lambda: '"principal":"bot.tailnet.test"' in lab.log(), "the node's name is in the log", 5)
    return f"{seen} as bot.tailnet.test"


@case()
def stranger_out(lab):
    return expect(lab.ask(lab.stranger), 403, "missing_scope")


@case(only="userspace")
def local_process_out(lab):
    # On loopback, where the tailnet's callers arrive too: no node of the tailnet is at the other end.
    return expect(lab.ask_local(lab.port), 401, "tailnet_unknown_peer")


@case()
def narrower_header_holds(lab):
    body = {"model": "openclaw", "messages": [{"role": "user", "content": "hello"}]}
    got = lab.ask(lab.user, "/v1/chat/completions", [("x-openclaw-scopes", "operator.read")], method="POST", body=body)
    return expect(got, 403, "missing_scope")


@case()
def bad_bearer_out(lab):
    return expect(lab.ask(lab.user, headers=[("Authorization", "Bearer nobody-s")]), 401, "credential_unknown")


@case()
def good_bearer_in(lab):
    return expect(lab.ask(lab.stranger, headers=shim.bearer("owner")), 200)


@case()
def forged_headers_out(lab):
    forged = [("Tailscale-User-Login", lab.login), ("X-Forwarded-For", lab.user.ip), ("X-Forwarded-User", lab.login)]
    first = expect(lab.ask(lab.stranger, headers=forged), 403, "missing_scope")
    return f"{first}; by serve {expect(lab.ask(lab.stranger, headers=forged, served=True), 403, 'missing_scope')}"


@case()
def serve_user_in(lab):
    return expect(lab.ask(lab.user, served=True), 200)


@case()
def serve_tagged_node_in(lab):
    return expect(lab.ask(lab.tagged, served=True), 200)


@case()
def serve_stranger_out(lab):
    return expect(lab.ask(lab.stranger, served=True), 403, "missing_scope")


@case()
def header_and_whois_disagree(lab):
    local = [("X-Forwarded-For", lab.tagged.ip), ("Tailscale-User-Login", lab.login)]
    first = expect(lab.ask_local(lab.serve_port, local), 403, "tailnet_mismatch")
    local = [("X-Forwarded-For", lab.stranger.ip), ("Tailscale-User-Login", lab.login)]
    expect(lab.ask_local(lab.serve_port, local), 403, "tailnet_mismatch")
    local = [("X-Forwarded-For", "203.0.113.9"), ("Tailscale-User-Login", lab.login)]
    return f"{first}; {expect(lab.ask_local(lab.serve_port, local), 401, 'tailnet_unknown_peer')}"


@case()
def serve_without_its_headers_out(lab):
    return expect(lab.ask_local(lab.serve_port), 401, "tailnet_headers")


@case()
def two_hundred_at_once(lab):
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
        raise Miss(f"got {got}")
    asked = lab.metric('scopeshim_tailnet_whois_total{result="found"}') - before
    if lab.kind == "tun" and asked > 10:
        raise Miss(f"three nodes were asked about {asked:.0f} times")
    return f"150 x 200, 50 x 403 in {time.monotonic() - started:.1f} s, {asked:.0f} whois"


@case()
def sse_stream(lab):
    lab.model.pause = 0.3
    events = list(lab.stream(lab.user))
    lab.model.pause = 0.05
    if not events or events[-1][1] != "data: [DONE]":
        raise Miss(f"the stream ended with {events[-1:]}")
    words = [at for at, line in events if '"content":"' in line]
    spread = words[-1] - words[0]
    if len(words) < 4 or spread < 0.9:
        raise Miss(f"{len(words)} words within {spread:.2f} s: they came in one piece")
    return f"{len(words)} words over {spread:.1f} s, then [DONE]"


@case()
def capability_in(lab):
    expect(lab.ask(lab.stranger), 403, "missing_scope")
    lab.control.put("/test/caps", {CAPABILITY: [{"scopes": ["operator.read", "operator.admin"]}]})
    came = eventually(lambda: lab.ask(lab.stranger).status == 200, "the capability counts")
    # The ceiling keeps operator.admin out.
    expect(lab.ask(lab.stranger, "/plugins/unlisted"), 403, "missing_scope")
    lab.control.put("/test/caps", {})
    went = eventually(lambda: lab.ask(lab.stranger).status == 403, "the capability is gone")
    return f"200 after {came}, admin 403, 403 again after {went}"


@case()
def tailnet_change_ends_stream(lab):
    lab.model.pause = 30
    stream = lab.stream(lab.tagged)
    next(stream)
    lab.control.put("/test/tags/bot", ["tag:retired"])
    started = time.monotonic()
    for _ in stream:
        if time.monotonic() - started > CHANGE_SECONDS:
            raise Miss("the stream goes on")
    took = time.monotonic() - started
    lab.model.pause = 0.05
    if took > CHANGE_SECONDS:
        raise Miss(f"the stream went on for {took:.1f} s")
    expect(lab.ask(lab.tagged), 403, "missing_scope")
    lab.control.put("/test/tags/bot", ["tag:bot"])
    eventually(lambda: lab.ask(lab.tagged).status == 200, "bot is back")
    return f"ended {took:.1f} s after the tag was gone"


@case()
def policy_change_ends_stream(lab):
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
        raise Miss(f"the stream went on for {took:.1f} s")
    return f"ended after {took:.1f} s, then {refused}"


@case()
def tailscaled_hangs(lab):
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
            raise Miss(f"the answer took {took:.1f} s")
        seen = eventually(lambda: lab.ready()[0] == 503, "readiness says so")
    finally:
        lab.server.signal(signal.SIGCONT)
    back = eventually(lambda: ok(lab, lab.user), "alice is back", 60)
    return f"503 in {took:.1f} s, not ready after {seen}, back in {back}"


@case()
def tailscaled_stopped_and_back(lab):
    eventually(lambda: lab.ready()[0] == 200, "ready before")
    lab.server.stop()
    gone = eventually(lambda: lab.ready()[0] == 503, "readiness says so")
    got = expect(local_tailnet_ask(lab), 503, "tailnet_unavailable")
    if "tailscaled at" not in lab.ready()[1] or lab.metric("scopeshim_tailnet_unavailable") != 1:
        raise Miss("readiness and metric do not say why")
    if "tailscaled cannot be asked" not in lab.log():
        raise Miss("the log does not say so")
    expect(lab.ask_local(lab.serve_port, shim.bearer("owner")), 200)
    lab.server.start()
    back = eventually(lambda: ok(lab, lab.user), "alice is back", 60)
    eventually(lambda: ok(lab, lab.tagged) and ok(lab, lab.user, served=True), "bot and serve are back", 60)
    eventually(lambda: lab.ready()[0] == 200 and "tailscaled answers again" in lab.log(), "ready again")
    return f"not ready after {gone}, {got}, tokens go on, back in {back}"


@case()
def explain_and_doctor(lab):
    command = [str(lab.binary), "explain", "--config", str(lab.config), "--as", f"tailnet-user:{lab.login}",
               "GET", "/v1/models"]
    said = procs.run(command, dict(os.environ), 30).stdout
    if "outcome   allowed" not in said or "(by tailnet)" not in said:
        raise Miss(said)
    command = [str(lab.binary), "doctor", "--config", str(lab.config)]
    command = lab.namespace.command(*command) if lab.namespace else command
    said = procs.run(command, dict(os.environ), 90).stdout
    identity = next((line for line in said.splitlines() if re.search(r"\bidentity\b", line)), said[-300:])
    if "the tailnet" not in identity:
        raise Miss(f"doctor says: {identity}")
    return "both know it"


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
