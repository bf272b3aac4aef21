"""The clock is set while the process runs, forwards and back, by a little and by decades."""

import base64
import ctypes.util
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path

import pytest

from tests.resilience.load import Stream
from tests.support import install, procs

HOUR = 3600


def faketime():
    """libfaketime, where it is installed or can be had."""
    for folder in [*Path("/usr/lib").glob("*/faketime"), Path("/usr/lib/faketime")]:
        if (folder / "libfaketime.so.1").exists():
            return folder / "libfaketime.so.1"
    found = ctypes.util.find_library("faketime")
    if found:
        return Path(found)
    try:
        return next(install.debian("libfaketime").glob("usr/lib/*/faketime/libfaketime.so.1"))
    except (install.InstallError, StopIteration) as why:
        pytest.skip(f"libfaketime is not installed and cannot be fetched: {why}")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(key, begins, ends):
    said = {"iss": "https://people.example", "aud": "openclaw", "sub": "alice", "scope": "operator.read operator.write",
            "iat": int(begins), "nbf": int(begins), "exp": int(ends)}
    signed = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, said))
    return f"{signed}.{b64(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def moment(at):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def test_a_clock_that_jumps(new_environment, say):
    library, now = faketime(), time.time()
    key, window = secrets.token_hex(40), f"scs-{secrets.token_hex(20)}"
    env = new_environment(more=f"""
[[token]]
name = "window"
sha256 = "{hashlib.sha256(window.encode()).hexdigest()}"
scopes = ["operator.read", "operator.write"]
not_before = {moment(now - HOUR)}
expires = {moment(now + HOUR)}
[[issuer]]
name = "people"
issuer = "https://people.example"
audiences = ["openclaw"]
keys = {{ secret_file = "hmac.secret" }}
""")
    file = env.folder / "hmac.secret"
    file.touch(mode=0o600)
    file.write_text(key)
    clock = env.folder / "clock"
    clock.write_text("+0")

    def jump(seconds):
        clock.with_suffix(".next").write_text(f"{seconds:+d}")
        clock.with_suffix(".next").rename(clock)

    # CLOCK_MONOTONIC is left alone: the kernel never sets it.
    process = env.start(env={"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                               "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    token, seen = jwt(key, now - HOUR, now + HOUR), []
    for seconds, wanted in ((0, 200), (2 * HOUR, 401), (0, 200), (-2 * HOUR, 401), (0, 200), (60 * 365 * 86400, 401),
                            (-50 * 365 * 86400, 401), (0, 200)):
        jump(seconds)
        begun = time.monotonic()
        got = (env.ask(token=token), env.ask(token=window), env.ask())
        assert got == (wanted, wanted, 200), (
            f"at {seconds:+d} s the JWT, the token with a window and a plain one got {got}"
        )
        seen.append(time.monotonic() - begun)
    # An open stream ends with its credential, by the clock as it is now.
    streams = {"JWT": Stream(env.port, token, 1000), "token": Stream(env.port, window, 1000), "plain": Stream(env.port, env.token, 1000)}
    procs.until(lambda: all(s.events for s in streams.values()), 10, "the streams")
    jump(2 * HOUR)
    begun = time.monotonic()
    procs.until(lambda: streams["JWT"].ended_at and streams["token"].ended_at, 5, "the end of streams whose credential expired")
    ended = time.monotonic() - begun
    jump(-2 * HOUR)
    events = streams["plain"].events
    procs.until(lambda: streams["plain"].events > events + 5, 5, "events of the stream that may go on")
    jump(0)
    assert env.ask(token=token) == 200, "the JWT is not good any more after all that"
    env.config.write_text(env.config.read_text() + "# again\n")
    code, said = env.command("reload")
    assert code == 0, f"reload after the jumps: {said}"
    streams["plain"].close()
    assert "fault of this program" not in process.log(), "a panic; see the log"
    took = process.stop(5)
    assert took < 2, f"the stop took {took:.1f} s"
    say(f"8 jumps from -50 to +60 years: JWT and token windows followed each, at most {max(seen) * 1000:.0f} ms for three answers; "
        f"open streams of expired credentials ended after {ended:.2f} s, the other went on")
