"""List the rules for a Helm chart, each defined where it is checked.

Sources: AWS Marketplace seller guide, "Container-based product requirements".
"""

from __future__ import annotations

from typing import Final

from sidecar.listing.chart import calls, images, metadata, rendered, schema, secrets, template_rules
from sidecar.listing.rule import POLICIES, Rule, Severity

READABLE: Final = Rule(
    id="chart-readable",
    severity=Severity.ERROR,
    title="The chart can be read",
    aws="A rule of this command: what cannot be read cannot be checked, and counts as a finding.",
    source=POLICIES,
    fix="Give the directory that has Chart.yaml in it, with files that are text, YAML or templates as Helm reads them.",
)

RULES: Final[tuple[Rule, ...]] = (
    READABLE,
    *metadata.RULES,
    *images.RULES,
    *template_rules.RULES,
    *schema.RULES,
    secrets.PLAIN_SECRET,
    *rendered.RULES,
    *calls.RULES,
)
NEED_HELM: Final[tuple[Rule, ...]] = (*calls.RULES, *rendered.RULES)
"""Nothing of these is known without rendering."""
MORE_WITH_HELM: Final[tuple[Rule, ...]] = (
    *(images.IN_VALUES, images.REGISTRY, images.TAG, template_rules.HOOK, template_rules.NAMESPACE),
    secrets.PLAIN_SECRET,
)
"""Of these the source says something, and what is rendered says the rest."""
