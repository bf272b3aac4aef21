"""Mixed work for a while: memory and descriptors stay where they are."""

import random
import statistics
import threading
import time

from tests.resilience.load import Load, Stream, failed, kinds, request
from tests.support import procs, wsclient

# What medians may differ by without a leak: allocators keep pages, clients come and go.
RSS_SLACK_KIB, RSS_SLACK, FD_SLACK = 2048, 0.05, 8


class Work:
    """One kind of work, over and over, counted."""

    def __init__(self, name, act, pause, over):
        self.name, self.count, self.wrong = name, 0, []
        self._act, self._pause, self._over = act, pause, over
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self._over.is_set():
            try:
                said = self._act()
            except Exception as why:
                said = f"{type(why).__name__}: {why}"
            self.count += 1
            if said:
                self.wrong.append(said)
            self._over.wait(self._pause)


def slope(values):
    """By least squares, for each step."""
    return statistics.linear_regression(range(len(values)), values).slope if len(values) > 1 else 0


def test_soak(new_environment, seconds, say):
    env = new_environment()
    process = env.start()
    url, auth = f"http://127.0.0.1:{env.port}", [("authorization", f"Bearer {env.token}")]
    good = env.config.read_text()

    def stream():
        one = Stream(env.port, env.token, 10, 50)
        one.wait(30)
        whole, events = one.whole, one.events
        one.close()
        return None if whole else f"a stream was cut after {events} events"

    def hung_up():
        one = Stream(env.port, env.token, 1000, 20)
        time.sleep(random.uniform(0.05, 0.3))
        one.close()
        one.wait(10)

    def websocket():
        with wsclient.Socket(url, auth) as socket:
            socket.connect(scopes=("operator.read",))
            # scopeshim checks the method, and the fake gateway answers with its parameters.
            for number in range(5):
                ok, said = socket.call("health", {"n": number})
                if not ok:
                    return f"{said}"

    def refused():
        got = request(env.port, f"wrong-{random.random()}").status
        return None if got in (401, 429) else f"a wrong token got {got}"

    def forbidden():
        got = request(env.port, env.token, "POST", "/tools/invoke/../x", {}).status
        return None if got == 400 else f"a target with dots got {got}"

    turn = iter(range(10**9))

    def reloaded():
        number = next(turn)
        env.config.write_text(good + f"# {number}\n" + ("broken = [" if number % 5 == 4 else ""))
        code, said = env.command("reload")
        return None if (code == 0) == (number % 5 != 4) else f"reload {number}: exit {code} {said}"

    over = threading.Event()
    load = Load(env.port, env.token, 100)
    work = [Work("streams", stream, 0.1, over), Work("streams", stream, 0.1, over), Work("hung up", hung_up, 0.05, over),
            Work("WebSockets", websocket, 0.1, over), Work("refused", refused, 0.02, over), Work("malformed", forbidden, 0.05, over),
            Work("reloads", reloaded, 0.5, over)]
    rss, fds, ends = [], [], time.monotonic() + seconds
    while time.monotonic() < ends:
        rss.append(process.rss())
        fds.append(process.descriptors())
        time.sleep(0.5)
    over.set()
    for one in work:
        one.thread.join(40)
    outcomes = load.stop()
    wrong = {one.name: one.wrong[:3] for one in work if one.wrong}
    assert not wrong, f"{wrong}"
    assert not failed(outcomes), (
        f"{len(failed(outcomes))} of {len(outcomes)} plain requests failed: {kinds(failed(outcomes))}"
    )
    assert "fault of this program" not in process.log(), "a panic; see the log"
    quarter = len(rss) // 4
    memory = [statistics.median(part) for part in (rss[quarter:2 * quarter], rss[-quarter:])]
    open_files = [statistics.median(part) for part in (fds[quarter:2 * quarter], fds[-quarter:])]
    by_hour = slope(rss[quarter:]) * 2 * 3600 / 1024
    counts = {}
    for one in work:
        counts[one.name] = counts.get(one.name, 0) + one.count
    said = (f"{len(outcomes)} requests, {', '.join(f'{count} {name}' for name, count in counts.items())} in {seconds} s; "
            f"RSS {memory[0] / 1024:.1f} MiB in the 2nd quarter, {memory[1] / 1024:.1f} MiB in the last ({by_hour:+.1f} MiB/h by slope); "
            f"descriptors {open_files[0]:.0f} and {open_files[1]:.0f}")
    assert memory[1] <= memory[0] * (1 + RSS_SLACK) + RSS_SLACK_KIB, f"memory grows: {said}"
    assert open_files[1] <= open_files[0] + FD_SLACK, f"descriptors grow: {said}"
    procs.until(lambda: process.descriptors() <= 40, 20, "the end of connections that nobody holds", every=0.5)
    rest = process.descriptors()
    say(said + f", {rest} at rest")
