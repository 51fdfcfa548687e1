"""List every rule of `listing check`, in one table, and what checks each kind of target.

Invariants:
- An id stands once. What a target's check reports is a rule of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.listing.chart.check import check as check_chart
from sidecar.listing.chart.rules import RULES as CHART_RULES
from sidecar.listing.finding import Checked, Kind
from sidecar.listing.image.check import check as check_image
from sidecar.listing.image.rules import RULES as IMAGE_RULES
from sidecar.listing.manifest.check import check as check_manifest
from sidecar.listing.manifest.rules import RULES as MANIFEST_RULES
from sidecar.listing.rule import Rule
from sidecar.listing.task_definition.check import check as check_task_definition
from sidecar.listing.task_definition.rules import RULES as TASK_RULES

OWN_RULES_OF: Final[Mapping[Kind, tuple[Rule, ...]]] = {
    Kind.CHART: CHART_RULES,
    Kind.IMAGE: IMAGE_RULES,
    Kind.TASK_DEFINITION: TASK_RULES,
    Kind.MANIFEST: MANIFEST_RULES,
}
"""Kind of target → the rules that are about it; each rule stands once."""
RULES_OF: Final[Mapping[Kind, tuple[Rule, ...]]] = {**OWN_RULES_OF, Kind.IMAGE: (*IMAGE_RULES, *MANIFEST_RULES)}
"""Kind of target → the rules that are checked: in an image, those of the manifest that it has, too."""
CHECK_OF: Final[Mapping[Kind, Callable[[str], Checked]]] = {
    Kind.CHART: check_chart,
    Kind.IMAGE: check_image,
    Kind.TASK_DEFINITION: check_task_definition,
    Kind.MANIFEST: check_manifest,
}
"""Kind of target → what checks one of that name."""
RULES: Final = tuple(rule for rules in OWN_RULES_OF.values() for rule in rules)
BY_ID: Final[Mapping[str, Rule]] = {rule.id: rule for rule in RULES}
