"""Metrics, rules and dashboard agree, and Prometheus' own tool finds nothing wrong."""

import re
import subprocess

from tests.observe import dashboards, traffic


def _promtool(promtool, *arguments, said=None):
    done = subprocess.run([promtool, *map(str, arguments)], input=said, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"promtool {arguments[0]} {arguments[1]}: {done.stdout.strip()}"
    return done.stdout


def test_promtool_finds_nothing_in_the_metrics(harness, promtool, say):
    traffic.one_round(harness)
    text = harness.metrics()
    said = _promtool(promtool, "check", "metrics", said=text)
    assert not said.strip(), f"promtool check metrics says: {said}"
    families = len(re.findall("^# TYPE", text, re.M))
    series = sum(not line.startswith("#") for line in text.splitlines())
    say(f"promtool has nothing to say on {families} metrics, {series} series, {len(text) // 1024} KiB")


def test_dashboard_and_alerts_name_every_metric(harness, say):
    there = set(re.findall(r"^# TYPE (\S+)", harness.metrics(), re.M))
    wanted = {name for _, query in dashboards.panels() for name in dashboards.metrics(query)}
    for rule in dashboards.alerts().values():
        wanted |= dashboards.metrics(rule)
    assert wanted and wanted <= there, f"named and not there: {sorted(wanted - there)}"
    unused = sorted(name for name in there - wanted if name.startswith("scopeshim_"))
    assert not unused, f"measured and never shown: {unused}"
    say(f"{len(wanted)} metrics named by dashboard and alerts, all of them scraped; none is left out")


def test_the_form_of_the_dashboard(say):
    board = dashboards.dashboard()
    assert [i["name"] for i in board["__inputs"]] == ["DS_PROMETHEUS"], "no input DS_PROMETHEUS"
    assert board["uid"] == "scopeshim" and board["id"] is None, "the uid is not fixed"
    assert [v["name"] for v in board["templating"]["list"]] == ["job", "instance"], "no variables job, instance"
    sources = set(re.findall(r'"datasource":\s*\{[^}]*"uid":\s*"([^"]*)"', dashboards.DASHBOARD.read_text()))
    assert sources == {"${DS_PROMETHEUS}"}, f"data sources: {sources}"
    places = [p["gridPos"] for p in board["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, "panels overlap or stand out"
    for panel in board["panels"]:
        assert panel["type"] == "row" or panel["description"], f"{panel['title']} says nothing of itself"
        for target in panel.get("targets", []):
            assert "$job" in target["expr"] and "$instance" in target["expr"], (
                f"{panel['title']} shows every instance"
            )
    say(f"{sum(p['type'] != 'row' for p in board['panels'])} panels")


def test_every_alert_fires_and_stays_silent(promtool, say):
    _promtool(promtool, "check", "rules", dashboards.RULES)
    _promtool(promtool, "test", "rules", dashboards.RULES_TEST)
    tests = dashboards.RULES_TEST.read_text()
    anchors = {line[3:].strip().lower() for line in dashboards.RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    for name, rule in dashboards.alerts().items():
        assert re.fullmatch(r"Scopeshim([A-Z][a-z]+)+", name), f"the name {name}"
        for key in ("expr:", "for:", "severity:", "summary:", "description:"):
            assert key in rule, f"{name} has no {key}"
        assert f"runbook_url: docs/runbook.md#{name.lower()}\n" in rule + "\n", (
            f"{name} points to no part of the runbook"
        )
        assert name.lower() in anchors, f"the runbook says nothing of {name}"
        assert f"name: {name} fires" in tests and f"name: {name} is silent" in tests, (
            f"{name} is not tested both ways"
        )
    say(f"{len(dashboards.alerts())} alerts, each fires and stays silent, each in the runbook")
