"""Alerts and dashboard use metrics that the sidecar has."""

from __future__ import annotations

import re

import source_scan

from sidecar.billing.loop import LOOP
from sidecar.billing.monitor import STALLED_SECONDS
from tests.chart.support import CHART, ROOT, of_kind, render

COMPARED = {"over ": ">", "older than ": "< time() -", "within ": "< time() +", "": "=="}
"""Words of the guide → the alert's operator."""
NAMED = re.compile(r"entitlement_sidecar_([a-z_]+)")


def test_every_metric_the_chart_names_is_one_the_sidecar_has() -> None:
    asked = {
        name
        for path in (CHART / "templates" / "prometheusrule.yaml", CHART / "files" / "dashboard.json")
        for name in NAMED.findall(path.read_text())
    }
    assert len(asked) > 5, "the search still finds them"
    assert asked <= {one.name for one in source_scan.metrics()}


def test_the_alert_rule_has_the_alerts_of_the_guide_alone() -> None:
    (rules,) = of_kind(render(CHART, {"prometheusRule": {"enabled": True}}), "PrometheusRule")["spec"]["groups"]
    alerts = [(one["expr"], one["for"]) for one in rules["rules"]]
    guide = (ROOT / "docs" / "howto" / "alerts.md").read_text()
    row = r"^\| `(.*?)` \| (over |older than |within )?(\d+)(?: seconds)?(?: for (\d+) minutes)? \|"
    rows = re.findall(row, guide, re.MULTILINE)
    assert len(rows) == guide.count("\n|") - 2, "each row says when"
    assert len(rows) == len(alerts)
    for (metric, over, number, minutes), (expression, lasting) in zip(rows, alerts, strict=True):
        name, _, labels = metric.replace("\\|", "|").rstrip("}").partition("{")
        chosen = ", ".join(['namespace="ns"', *([labels] if labels else [])])
        assert expression == f"entitlement_sidecar_{name}{{{chosen}}} {COMPARED[over]} {number}"
        assert not minutes or lasting == f"{minutes}m"


def test_a_silent_loop_is_alerted_when_the_sidecar_itself_calls_it_stalled() -> None:
    (alert,) = [one for one in source_scan.alerts() if one.metric == "loop_passed_timestamp_seconds"]
    assert alert.condition == f"< time() - {STALLED_SECONDS:.0f}"
    assert alert.labels == f'loop="{LOOP}"'
