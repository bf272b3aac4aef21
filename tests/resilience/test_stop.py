"""A stop: nobody new, the open ones get their time, the idle are gone at once."""

import http.client
import signal
import time

from tests.resilience.load import Stream
from tests.support import procs


def test_an_idle_process_stops_at_once(new_environment, say):
    env, took = new_environment(), []
    for silent in (0, 0, 50):
        process = env.start()
        assert env.ask() == 200, "no answer"
        resting = [http.client.HTTPConnection("127.0.0.1", env.port) for _ in range(50)]
        for connection in resting:
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {env.token}"})
            connection.getresponse().read()
        mute = [http.client.HTTPConnection("127.0.0.1", env.port) for _ in range(silent)]
        for connection in mute:
            connection.connect()
        took.append(process.stop(5))
        assert process.child.process.returncode == 0, f"ended with {process.child.process.returncode}"
        for connection in resting + mute:
            connection.close()
    assert max(took) < 1, f"{took}"
    say(f"gone {took[0]:.2f} s after SIGTERM with 50 resting connections, {took[2]:.2f} s with 50 more that never spoke")


def test_a_busy_process_takes_nobody_new(new_environment, say):
    env = new_environment(server='drain = "20s"')
    process = env.start()
    stream = Stream(env.port, env.token, 30)
    kept = http.client.HTTPConnection("127.0.0.1", env.port, timeout=10)
    auth = {"authorization": f"Bearer {env.token}"}
    kept.request("GET", "/v1/models", headers=auth)
    kept.getresponse().read()
    procs.until(lambda: stream.events, 10, "the stream")
    begun = time.monotonic()
    process.signal(signal.SIGTERM)
    procs.until(lambda: env.ask(seconds=2) == 0, 5, "new connections refused", every=0.005)
    refused = time.monotonic() - begun
    try:
        kept.request("GET", "/v1/models", headers=auth)
        answer = kept.getresponse()
        said = f"{answer.status} {answer.getheader('connection')}"
    except (OSError, http.client.HTTPException):
        said = "closed"
    assert said in ("closed", "503 close"), f"on a kept connection: {said}"
    process.ended(10)
    stream.wait(5)
    assert stream.whole, "the stream was cut within its time"
    first = time.monotonic() - begun

    process = env.start()
    stream = Stream(env.port, env.token, 1000)
    procs.until(lambda: stream.events, 10, "the stream")
    process.signal(signal.SIGTERM)
    procs.until(lambda: env.ask(seconds=2) == 0, 5, "new connections refused", every=0.005)
    begun = time.monotonic()
    process.signal(signal.SIGTERM)
    second = process.ended(5) - begun
    assert second < 0.5, f"a second signal took {second:.2f} s"
    say(f"new connections refused {refused * 1000:.0f} ms after SIGTERM, a kept one was {said}, the stream came to its end "
        f"({first:.1f} s); a second signal: gone after {second * 1000:.0f} ms")
