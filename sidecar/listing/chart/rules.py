"""List the rules for a Helm chart.

Sources: AWS Marketplace seller guide, "Container-based product requirements".
"""

from __future__ import annotations

from typing import Final

from sidecar.listing.rule import POLICIES, Rule, Severity

READABLE: Final = Rule(
    id="chart-readable",
    severity=Severity.ERROR,
    title="The chart can be read",
    aws="A rule of this command: what cannot be read cannot be checked, and counts as a finding.",
    source=POLICIES,
    fix="Give the directory that has Chart.yaml in it.",
)

RULES: Final[tuple[Rule, ...]] = (READABLE,)
