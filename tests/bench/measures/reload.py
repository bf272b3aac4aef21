"""A new policy under load: when it governs, what fails, how long it takes to make."""

import json
import os
import re
import selectors
import socket
import sys
import time

from tests.bench import policies
from tests.bench.candidates import Bench, prove
from tests.bench.report import Row, median
from tests.support import procs

GRANTS, TOKENS, CONNECTIONS = 10_000, 1000, 4
PATIENCE_SECONDS = 15
# The same token holds other scopes in the new file; the upstream says which it was sent. So every answer is a 200
# that tells under which policy it was given.
OLD, NEW = policies.SCOPES, "operator.read"


def rows(options):
    late, failed, longest, took = [], 0, [], []
    with Bench(options) as bench:
        upstream = bench.upstream()
        for turn in range(options.repeats):
            one = bench.scopeshim(upstream, tokens=TOKENS, extra=policies.grants(GRANTS, TOKENS))
            prove(one, policies.token(7))
            old = one.config.read_text()
            # From level error to info: the line that says how long it took is written, the load's lines before are not.
            new = old.replace(policies.named(7), policies.named(7, NEW)).replace('level = "error"', 'level = "info"')
            beside = one.config.with_name("new")
            beside.write_text(new)
            seen = under_load(one.port, lambda: os.rename(beside, one.config))
            late.append(seen["late"])
            failed += seen["failed"]
            longest.append(seen["longest"])
            took.append(procs.until(lambda: seconds_said(one.log()), 5, "the log says that the policy is in force") * 1000)
            print(f"  reload, turn {turn + 1}: {seen}, took {took[-1]:.1f} ms", file=sys.stderr, flush=True)
            bench.stop(one)
    yield Row(f"policy reload under load, {GRANTS:,} grants: failed requests", "0", f"{failed}", "", failed == 0)
    yield Row("last answer under the old policy after rename(2)", "≤ 20 ms",
              f"{median(late):.1f} ms [{min(late):.1f}..{max(late):.1f}]; longest answer meanwhile {max(longest):.1f} ms", "",
              max(late) <= 20)
    yield Row(f"{GRANTS:,} grants and {TOKENS:,} tokens: read, judged, compiled, in force", "≤ 50 ms",
              f"{median(took):.1f} ms (took_s of the log)", "", median(took) <= 50)


def seconds_said(log):
    for line in log.splitlines():
        if "a new policy is in force" in line:
            try:
                return json.loads(line)["took_s"]
            except ValueError:
                return float(re.search(r"took_s=([\d.e-]+)", line)[1])
    return None


def under_load(port, change):
    """Asks without pause on some connections, changes the policy meanwhile, and says what was seen."""
    request = (f"GET /v1/models HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {policies.token(7)}\r\n\r\n").encode()
    selector = selectors.DefaultSelector()
    waiting, kept = {}, {}
    last_old = first_new = changed = None
    failed, answers, longest = 0, 0, 0.0

    def connect():
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        send(sock)

    def send(sock):
        kept[sock], waiting[sock] = b"", time.monotonic()
        sock.sendall(request)

    for _ in range(CONNECTIONS):
        connect()
    begun = time.monotonic()
    while True:
        now = time.monotonic()
        if changed is None and now > begun + 1:
            change()
            changed = time.monotonic()
        # A second more under the new policy, in which no answer of the old one may come.
        if now > begun + PATIENCE_SECONDS or (first_new and now > first_new + 1):
            break
        for key, _ in selector.select(0.01):
            sock = key.fileobj
            try:
                part = sock.recv(65536)
            except OSError:
                part = b""
            now = time.monotonic()
            if not part:
                failed += 1
                selector.unregister(sock)
                sock.close()
                connect()
                continue
            kept[sock] += part
            status, scopes = whole(kept[sock])
            if status is None:
                continue
            answers += 1
            if changed:
                longest = max(longest, now - waiting[sock])
            if status != 200 or scopes not in (OLD, NEW):
                failed += 1
            elif scopes == OLD:
                last_old = now
            elif first_new is None:
                first_new = now
            send(sock)
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    if not first_new:
        raise RuntimeError(f"the new policy did not come into force within {PATIENCE_SECONDS} s")
    return {"late": max(0.0, last_old - changed) * 1000, "failed": failed, "answers": answers, "longest": longest * 1000}


def whole(answer):
    """The status and the scopes that were sent, once the answer is complete."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not end or (length and len(body) < int(length[1])):
        return None, None
    scopes = re.search(rb"(?i)\r\nx-seen-scopes: *([^\r]*)", head)
    return int(head.split()[1]), scopes[1].decode() if scopes else None
