"""The dashboard and the alerts as data."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "packaging/grafana/scopeshim.json"
RULES = ROOT / "packaging/prometheus/alerts.yml"
RULES_TEST = ROOT / "packaging/prometheus/alerts_test.yml"
RUNBOOK = ROOT / "docs/runbook.md"


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    """(title, query) of every query on the dashboard."""
    return [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def alerts():
    """{name: text of the rule}; no YAML reader is at hand, and promtool checks the form."""
    pieces = re.split(r"^ *- alert: *", RULES.read_text(), flags=re.M)[1:]
    return {piece.split("\n", 1)[0].strip(): piece for piece in pieces}


def metrics(text):
    """The names of this program's metrics in a query; of histograms the family's."""
    found = re.findall(r"\b((?:scopeshim|process)_[a-z0-9_]+)", text)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}
