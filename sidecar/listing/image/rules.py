"""List the rules for an image.

Sources: AWS Marketplace seller guide, "Container-based product requirements".
"""

from __future__ import annotations

from typing import Final

from sidecar.listing.rule import POLICIES, Rule, Severity

READABLE: Final = Rule(
    id="image-readable",
    severity=Severity.ERROR,
    title="The image can be read",
    aws="A rule of this command: what cannot be read cannot be checked, and counts as a finding.",
    source=POLICIES,
    fix="Give what the message asks for.",
)

RULES: Final[tuple[Rule, ...]] = (READABLE,)
