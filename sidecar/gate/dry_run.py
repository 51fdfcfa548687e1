"""Check the entitlement by dry runs of MeterUsage, or by the kept pass. Runs in the child.

Invariants:
- Each dimension is asked about, in order; the first that does not pass is the answer.
- It is asked in the field that its usage will be sent in: the decimal one, and under `auto` also in the integer one
  where AWS refuses that for a dimension of whole numbers.
- Where AWS calls the credentials expired, they are fetched again and the dimension is asked about once more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidecar.clock import Clock
from sidecar.entitlement import classify, kept_pass
from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.gate.messages import CheckRequest
from sidecar.gate.method import Allowed, NotAllowed
from sidecar.ledger import kept_file as answer_file
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.meter_usage import DryRun, Passed, dry_run, refuses_decimals
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import Dimension, QuantityField

DECIMALS: Final = (
    "It may take no decimal quantities for this product: then give {dimension} decimals 0, and set"
    " SIDECAR_QUANTITY_FIELD to auto."
)


@dataclass(kw_only=True)
class DryRunCheck:
    """A dry run of every dimension."""

    request: CheckRequest
    workload: WorkloadId
    clock: Clock
    host_clock: Clock

    @property
    def answer_path(self) -> Path:
        return answer_file.pass_path(Path(self.request.state_dir), self.workload)

    def ask(self, marketplace: Marketplace) -> Allowed | NotAllowed:
        if not self.request.dimensions:
            raise AssertionError("settings hold at least one dimension")
        request_id = ""
        for dimension in self.request.dimensions:
            found = self._about(marketplace, dimension)
            if not isinstance(found, Passed):
                hint = f"{found.row.hint} {DECIMALS}" if self._lacks_integer(dimension, found) else found.row.hint
                return NotAllowed(row=found.row, code=found.code, hint=hint, reply=found, dimension=dimension.name)
            request_id = found.request_id
        to_keep = kept_pass.passed(kept_pass.Kind.DRY_RUN, self.workload, self._product, self._names)
        return Allowed(
            explanation=classify.DRY_RUN_PASSED,
            asked=AnsweredBy.METER_USAGE,
            request_id=request_id,
            to_keep=to_keep.as_text(),
        )

    def reopen(self, text: str) -> Allowed:
        kept_pass.verify_kept(kept_pass.from_text(text), self.workload, self._product, self._names)
        return Allowed(explanation=classify.KEPT_PASS, asked=AnsweredBy.METER_USAGE)

    @property
    def _product(self) -> ProductCode:
        return ProductCode(self.request.product_code)

    @property
    def _names(self) -> list[str]:
        return [dimension.name for dimension in self.request.dimensions]

    def _about(self, marketplace: Marketplace, dimension: Dimension) -> DryRun:
        found = self._once(marketplace, dimension)
        if not isinstance(found, Passed) and found.row.once_more:
            marketplace.refresh()
            found = self._once(marketplace, dimension)
        return found

    def _once(self, marketplace: Marketplace, dimension: Dimension) -> DryRun:
        field = QuantityField(self.request.quantity_field)
        found = self._in_field(marketplace, dimension, field is not QuantityField.INTEGER)
        if field is not QuantityField.AUTO or dimension.decimals or not refuses_decimals(found):
            return found
        return self._in_field(marketplace, dimension, False)

    def _lacks_integer(self, dimension: Dimension, found: DryRun) -> bool:
        """Return whether AWS refused the decimal field, and the settings allow no other for this dimension."""
        integer_too = self.request.quantity_field != QuantityField.DECIMAL.value and not dimension.decimals
        return refuses_decimals(found) and not integer_too

    def _in_field(self, marketplace: Marketplace, dimension: Dimension, decimal: bool) -> DryRun:
        product, now = self.request.product_code, self.clock.now()
        return dry_run(marketplace, product, dimension, now, host_now=self.host_clock.now(), decimal=decimal)
