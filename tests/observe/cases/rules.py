"""Metrics, rules and dashboard agree, and Prometheus' own tool finds nothing wrong."""

import re
import subprocess

from tests.observe import drawn
from tests.observe import traffic
from tests.support.suite import case, need


def _promtool(ctx, *arguments, said=None):
    done = subprocess.run([ctx.promtool, *map(str, arguments)], input=said, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    need(done.returncode == 0, f"promtool {arguments[0]} {arguments[1]}: {done.stdout.strip()}")
    return done.stdout


@case("metrics.lint")
def lint(ctx):
    traffic.one_round(ctx.rig)
    text = ctx.rig.metrics()
    said = _promtool(ctx, "check", "metrics", said=text)
    need(not said.strip(), f"promtool check metrics says: {said}")
    families = len(re.findall("^# TYPE", text, re.M))
    series = sum(not line.startswith("#") for line in text.splitlines())
    return f"promtool has nothing to say on {families} metrics, {series} series, {len(text) // 1024} KiB"


@case("metrics.named")
def named(ctx):
    there = set(re.findall(r"^# TYPE (\S+)", ctx.rig.metrics(), re.M))
    wanted = {name for _, query in drawn.panels() for name in drawn.metrics(query)}
    for rule in drawn.alerts().values():
        wanted |= drawn.metrics(rule)
    need(wanted and wanted <= there, f"named and not there: {sorted(wanted - there)}")
    unused = sorted(name for name in there - wanted if name.startswith("scopeshim_"))
    need(not unused, f"measured and never shown: {unused}")
    return f"{len(wanted)} metrics named by dashboard and alerts, all of them scraped; none is left out"


@case("dashboard.form")
def form(_ctx):
    board = drawn.dashboard()
    need([i["name"] for i in board["__inputs"]] == ["DS_PROMETHEUS"], "no input DS_PROMETHEUS")
    need(board["uid"] == "scopeshim" and board["id"] is None, "the uid is not fixed")
    need([v["name"] for v in board["templating"]["list"]] == ["job", "instance"], "no variables job, instance")
    sources = set(re.findall(r'"datasource":\s*\{[^}]*"uid":\s*"([^"]*)"', drawn.DASHBOARD.read_text()))
    need(sources == {"${DS_PROMETHEUS}"}, f"data sources: {sources}")
    places = [p["gridPos"] for p in board["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    need(len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, "panels overlap or stand out")
    for panel in board["panels"]:
        need(panel["type"] == "row" or panel["description"], f"{panel['title']} says nothing of itself")
        for target in panel.get("targets", []):
            need("$job" in target["expr"] and "$instance" in target["expr"], f"{panel['title']} shows every instance")
    return f"{sum(p['type'] != 'row' for p in board['panels'])} panels"


@case("alerts.rules")
def rules(ctx):
    _promtool(ctx, "check", "rules", drawn.RULES)
    _promtool(ctx, "test", "rules", drawn.RULES_TEST)
    tests = drawn.RULES_TEST.read_text()
    anchors = {line[3:].strip().lower() for line in drawn.RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    for name, rule in drawn.alerts().items():
        need(re.fullmatch(r"Scopeshim([A-Z][a-z]+)+", name), f"the name {name}")
        for key in ("expr:", "for:", "severity:", "summary:", "description:"):
            need(key in rule, f"{name} has no {key}")
        need(f"runbook_url: docs/runbook.md#{name.lower()}\n" in rule + "\n", f"{name} points to no part of the runbook")
        need(name.lower() in anchors, f"the runbook says nothing of {name}")
        need(f"name: {name} fires" in tests and f"name: {name} is silent" in tests, f"{name} is not tested both ways")
    return f"{len(drawn.alerts())} alerts, each fires and stays silent, each in the runbook"
