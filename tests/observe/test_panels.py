"""A real Prometheus scrapes a real run; every query of the dashboard finds something."""

import contextlib
import json
import math
import urllib.parse

import pytest

from tests.observe import dashboards, tools, traffic
from tests.support import clients, procs, shim

# What Grafana would put in; the scrapes here are a second apart.
FILLED = {"$job": ".*", "$instance": ".*", "$__rate_interval": "10s", "[1h]": "[20s]"}


@pytest.fixture
def query(harness, folder):
    """Asks a Prometheus that scrapes the harness."""
    folder = folder / "prometheus"
    folder.mkdir()
    port = procs.free_port()
    target = harness.admin.removeprefix("http://")
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{json.dumps(str(dashboards.RULES))}]\n"
        f"scrape_configs:\n  - job_name: scopeshim\n    static_configs: [{{targets: [{json.dumps(target)}]}}]\n")
    child = procs.Child([tools.prometheus()[1], f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                         f"--web.listen-address=127.0.0.1:{port}"], folder / "log")

    def ask(path, **asked):
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        return clients.request("GET", url, seconds=10).json()["data"]

    def scraped():
        try:
            return any(t["health"] == "up" for t in ask("targets")["activeTargets"])
        except (OSError, TypeError):
            return False

    procs.until(scraped, 30, "prometheus scrapes")
    yield ask
    child.kill()


def _values(found):
    return [value for value in (float(series["value"][1]) for series in found) if math.isfinite(value)]


def _query(text):
    for name, value in FILLED.items():
        text = text.replace(name, value)
    return text


def _trouble(harness):
    """The gateway fails, a reload fails, refusals come faster than lines are written."""
    harness.reload(harness.good + "\nnonsense = 1\n")
    harness.reload(harness.good)
    for _ in range(300):
        harness.ask()
    good, port = harness.model, harness.model.port
    good.stop()
    harness.ask(token=shim.TOKENS["reader"])
    harness.restart_gateway(port)


def test_every_panel_shows_something(harness, query, say):
    going = traffic.Going(harness)
    try:
        going.wait_for(2)
        # A gateway that goes takes its streams along.
        going.stop()
        _trouble(harness)
        going = traffic.Going(harness)
        traffic.one_round(harness)
        with clients.Curl(f"{harness.url}/v1/chat/completions", shim.bearer("open-webui"), {"stream": True}):
            left = dict.fromkeys(dashboards.panels())

            def all_show():
                for key in list(left):
                    if _values(query("query", query=_query(key[1]))["result"]):
                        del left[key]
                return not left

            with contextlib.suppress(procs.Timeout):
                procs.until(all_show, 20, "something in every panel", every=0.5)
    finally:
        going.stop()
    assert not left, f"empty: {[title for title, _ in left]}"
    seen = {alert["labels"]["alertname"] for alert in query("alerts")["alerts"]}
    health = [rule["health"] for group in query("rules")["groups"] for rule in group["rules"]]
    assert set(health) == {"ok"}, f"rules in trouble: {health}"
    assert "ScopeshimTokenExpiresSoon" in seen, "a token expires in five days and nobody is told"
    say(f"{len(dashboards.panels())} queries, none is empty; alerts under way: {', '.join(sorted(seen))}")
