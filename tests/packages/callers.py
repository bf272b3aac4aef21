"""New connections to the proxy, one after the other, until it is told to stop: what became of them, as JSON.

usage: callers.py TOKEN EVERY_MS      ends when it is asked to (SIGTERM)
"""

import http.client
import json
import signal
import sys
import threading
import time

TOKEN, EVERY = sys.argv[1], int(sys.argv[2]) / 1000


def one():
    connection = http.client.HTTPConnection("127.0.0.1", 18780, timeout=20)
    try:
        connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException) as why:
        return f"{type(why).__name__}: {why}"
    finally:
        connection.close()


def main():
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    seen, slowest = {}, 0
    while not over.is_set():
        begun = time.monotonic()
        became = one()
        seen[became] = seen.get(became, 0) + 1
        slowest = max(slowest, time.monotonic() - begun)
        # Who started this counts the lines.
        print(became, flush=True)
        over.wait(EVERY)
    print(json.dumps({"seen": seen, "slowest": round(slowest, 3)}), flush=True)


if __name__ == "__main__":
    main()
