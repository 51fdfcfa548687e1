"""Choose the kind of field that a record's quantity is sealed for, and remember that AWS refuses the decimal one.

Invariants:
- Under `auto` and `decimal` a record is sealed for the decimal field, whole numbers too. Under `auto`, once AWS took an
  hour in the integer field that it had refused in the decimal one, later whole amounts are sealed for the integer field
  until the process ends; a restart asks AWS again, at the price of one refused call for each dimension.
- A record that is sealed already keeps its kind: it is sent as it was sealed.

Sources: AWS Marketplace API Reference, MeterUsage (UsageQuantityAsDecimal; quantities are compared by value).
"""

from __future__ import annotations

from sidecar import log
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.sealed_request import QuantityKind, Repair, fits_integer
from sidecar.metering.states import State
from sidecar.settings import QuantityField

HINT = (
    "AWS refused a whole quantity in UsageQuantityAsDecimal and took it in UsageQuantity: later hours are sent so at"
    " once. SIDECAR_QUANTITY_FIELD=integer saves the refused call after each start."
)


class QuantityKinds:
    """Chooses for the one product of this process."""

    def __init__(self, field: QuantityField) -> None:
        self._field = field
        self._refuses_decimals = False

    @property
    def repairs(self) -> frozenset[Repair]:
        """Return the repairs that the setting allows."""
        return frozenset(Repair) - ({Repair.INTEGER_FIELD} if self._field is QuantityField.DECIMAL else set())

    def choose(self, owed: Owed) -> QuantityKind:
        """Return the kind of field to seal what is owed for."""
        if self._field is QuantityField.INTEGER:
            return QuantityKind.INTEGER
        whole = all(map(fits_integer, (owed.quantity, *(one.quantity for one in owed.allocations))))
        return QuantityKind.INTEGER if self._refuses_decimals and whole else QuantityKind.DECIMAL

    def learn(self, record: UsageRecord) -> None:
        """Take note of a record that is settled after its repair by the integer field, and say so once."""
        repaired = record.state is State.SETTLED and record.repairs[-1:] == (Repair.INTEGER_FIELD,)
        if repaired and self._field is QuantityField.AUTO and not self._refuses_decimals:
            self._refuses_decimals = True
            log.warn("quantity.decimal_refused", dimension=record.dimension, hint=HINT)
