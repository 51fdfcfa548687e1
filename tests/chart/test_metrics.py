"""Alerts and dashboard ask for metrics the sidecar has."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "entitlement-sidecar"
NAMED = re.compile(r"entitlement_sidecar_([a-z_]+)")


def test_every_metric_the_chart_names_is_one_the_sidecar_has() -> None:
    asked = {
        name
        for path in (CHART / "templates" / "prometheusrule.yaml", CHART / "files" / "dashboard.json")
        for name in NAMED.findall(path.read_text())
    }
    assert len(asked) > 5, "the search still finds them"
    code = "".join((ROOT / "sidecar" / "agent" / name).read_text() for name in ("meter.py", "picture.py"))
    known = set(re.findall(r'"([a-z_]+)"', code)) | {f"usage_quantity_{name}_total" for name in ("accepted", "settled")}
    assert asked <= known
