"""Define a rule of a listing: what must be true, what AWS says, where it says so, and the fix.

Invariants:
- An id is kebab-case, begins with what it is about (`chart-`, `image-`, `task-`, `manifest-`) and never changes:
  people write it into `--ignore`, and code scanning knows a finding by it.
- A rule that is ours and not AWS's says so in `aws`.

Sources: SARIF 2.1.0, section 3.27.10 (level: error, warning, note).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from sidecar.quick_dataclasses import dataclass

POLICIES: Final = "https://docs.aws.amazon.com/marketplace/latest/userguide/container-product-policies.html"
"""AWS Marketplace seller guide, "Container-based product requirements"."""
SECURITY: Final = f"{POLICIES}#container-security-requirements"
BILLING: Final = "https://docs.aws.amazon.com/marketplace/latest/userguide/container-products-billing-integration.html"
"""The same, "Container products billing, metering, and licensing integrations"."""
ADD_VERSION: Final = "https://docs.aws.amazon.com/marketplace/latest/userguide/container-add-version.html"
"""The same, "Adding a new version of your product"."""


class Severity(Enum):
    """What breaking a rule costs. The values are SARIF's levels; the worst is first."""

    ERROR = "error"
    """AWS Marketplace refuses the listing, or its customers cannot run or trust it."""
    WARNING = "warning"
    """AWS advises against it, or refuses it for some listings only."""
    NOTE = "note"
    """Worth knowing; nothing has to change."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. Texts are sentences for a person, without a line break."""

    id: str
    severity: Severity
    title: str
    """What must be true."""
    aws: str
    """What AWS's rule is, in our words, or why this is a rule all the same."""
    source: str
    """URL of the page that says so."""
    fix: str
