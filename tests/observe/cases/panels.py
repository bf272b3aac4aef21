"""A real Prometheus scrapes a real run; every query of the dashboard finds something."""

import json
import math
import time
import urllib.parse

from tests.support import clients
from tests.observe import drawn
from tests.support import procs
from tests.support import shim
from tests.observe import traffic
from tests.support.suite import case, need

# What Grafana would put in; the scrapes here are a second apart.
FILLED = {"$job": ".*", "$instance": ".*", "$__rate_interval": "10s", "[1h]": "[20s]"}


def _start(ctx):
    folder = ctx.folder / "prometheus"
    folder.mkdir()
    port = procs.free_port()
    target = ctx.rig.admin.removeprefix("http://")
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{json.dumps(str(drawn.RULES))}]\n"
        f"scrape_configs:\n  - job_name: scopeshim\n    static_configs: [{{targets: [{json.dumps(target)}]}}]\n")
    child = procs.Child([ctx.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                         f"--web.listen-address=127.0.0.1:{port}"], folder / "log")
    ctx.at_end(child.kill)

    def ask(path, **asked):
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        return clients.request("GET", url, seconds=10).json()["data"]

    def scraped():
        try:
            return any(t["health"] == "up" for t in ask("targets")["activeTargets"])
        except (OSError, TypeError):
            return False

    procs.until(scraped, 30, "prometheus scrapes")
    return ask


def _values(found):
    return [value for value in (float(series["value"][1]) for series in found) if math.isfinite(value)]


def _query(text):
    for name, value in FILLED.items():
        text = text.replace(name, value)
    return text


def _trouble(rig):
    """The gateway fails, a reload fails, refusals come faster than lines are written."""
    rig.reload(rig.good + "\nnonsense = 1\n")
    rig.reload(rig.good)
    for _ in range(300):
        rig.ask()
    good, port = rig.model, rig.model.port
    good.stop()
    rig.ask(token=shim.TOKENS["reader"])
    rig.restart_gateway(port)


@case("dashboard.panels")
def panels(ctx):
    ask = _start(ctx)
    going = traffic.Going(ctx.rig)
    try:
        time.sleep(3)
        # A gateway that goes takes its streams along.
        going.stop()
        _trouble(ctx.rig)
        going = traffic.Going(ctx.rig)
        traffic.one_round(ctx.rig)
        open_stream = clients.Curl(f"{ctx.rig.url}/v1/chat/completions", shim.bearer("open-webui"), {"stream": True})
        time.sleep(4)
        open_stream.close()
        left = dict.fromkeys(drawn.panels())
        deadline = time.monotonic() + 10
        while left and time.monotonic() < deadline:
            left = {key: None for key in left if not _values(ask("query", query=_query(key[1]))["result"])}
            time.sleep(0.5 if left else 0)
    finally:
        going.stop()
    need(not left, f"empty: {[title for title, _ in left]}")
    seen = {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]}
    health = [rule["health"] for group in ask("rules")["groups"] for rule in group["rules"]]
    need(set(health) == {"ok"}, f"rules in trouble: {health}")
    need("ScopeshimTokenExpiresSoon" in seen, "a token expires in five days and nobody is told")
    return f"{len(drawn.panels())} queries, none is empty; alerts under way: {', '.join(sorted(seen))}"
