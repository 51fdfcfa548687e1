"""Hold who is metered, and where, as far as that is known: the workload first, its region perhaps later.

Invariants:
- What is known does not move: a workload keeps its ledger, and a ledger its region.
- Usage is kept once the workload is known. The region is needed to send it, and to take over what others left.
"""

from __future__ import annotations

from sidecar.ledger.opening import Owner
from sidecar.quick_dataclasses import replace


class KnownOwner:
    """What one process knows of the owner of its ledger."""

    def __init__(self, product_code: str, product_id: str = "") -> None:
        """Know nothing but the product yet; `product_code` and `product_id` as an `Owner` has them."""
        self._product_code, self._product_id = product_code, product_id
        self.owner: Owner | None = None
        """None until the workload is known; its region is empty until that is."""

    def learn(self, workload: str, region: str) -> bool:
        """Return whether this says more than was known; empty texts say nothing."""
        known = self.owner
        if known is None and workload:
            self.owner = Owner(
                workload=workload, product_code=self._product_code, region=region, product_id=self._product_id
            )
            return True
        if known is not None and not known.region and region and workload in ("", known.workload):
            self.owner = replace(known, region=region)
            return True
        return False

    @property
    def complete(self) -> bool:
        """Return whether workload and region are known."""
        return self.owner is not None and bool(self.owner.region)
