"""Tell which dimensions are drawn from a license, and from which.

Invariants:
- Only a product sold by contract has any: licenses that a manifest seals are ignored under another check.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.metering.drawdown import Drawdown
from sidecar.settings import EntitlementCheck, Settings, Take


def drawdowns(settings: Settings) -> Mapping[str, Drawdown]:
    """Return dimension → the pool that its usage is drawn from."""
    if settings.entitlement_check is not EntitlementCheck.CHECKOUT_LICENSE:
        return {}
    return {
        one.dimension: Drawdown(sku=settings.product_sku, name=one.name, unit=one.unit)
        for one in settings.licenses
        if one.take is Take.DRAWDOWN
    }
