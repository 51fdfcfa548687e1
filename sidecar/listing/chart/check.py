"""Check one chart, named by its directory."""

from __future__ import annotations

from pathlib import Path

from sidecar.listing.chart import rules
from sidecar.listing.finding import Checked, Finding


def check(name: str) -> Checked:
    """Return what the chart in the directory `name` breaks."""
    if not (Path(name) / "Chart.yaml").is_file():
        message = "There is no Chart.yaml in it."
        return Checked(findings=[Finding(rule=rules.READABLE, message=message, seen=name)], complete=False)
    return Checked()
