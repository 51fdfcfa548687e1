"""Hold what a pass of the billing loop found in the ledger, for status, metrics and policies until the next pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Self

from sidecar.ledger.balance import Balance, LedgerSummary
from sidecar.ledger.unsettled import amount_entry, record_entry
from sidecar.metering.postponed import Postponed, postponed
from sidecar.metering.quantities import exact_difference, exact_sum
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import Dimension


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What the ledger held at the end of a pass. Before the first pass it holds nothing."""

    sealed: tuple[UsageRecord, ...] = ()
    """Records that wait for AWS."""
    waiting: LedgerSummary | None = None
    balances: tuple[Balance, ...] = ()
    postponed: Postponed | None = None
    unconfigured: Mapping[str, Decimal] = field(default_factory=dict)
    """Usage that waits of dimensions that are no longer configured, by dimension."""

    @classmethod
    def of(
        cls,
        sealed: tuple[UsageRecord, ...],
        waiting: LedgerSummary,
        balances: tuple[Balance, ...],
        dimensions: Sequence[Dimension],
        now: datetime,
    ) -> Self:
        """Return the snapshot of a ledger; `dimensions` are those that are configured."""
        configured = {dimension.name for dimension in dimensions}
        unsealed = {one.dimension: one.unsealed for one in balances}
        return cls(
            sealed=sealed,
            waiting=waiting,
            balances=balances,
            postponed=postponed(waiting.open_from, unsealed, sealed, now),
            unconfigured={name: amount for name, amount in unsealed.items() if amount and name not in configured},
        )

    @property
    def records(self) -> dict[str, int]:
        """Number of records by state, every state but `open` named; empty before the ledger was opened."""
        if self.waiting is None:
            return {}
        return {state.value: self.waiting.states.get(state, 0) for state in State if state is not State.OPEN}

    def unsettled(self, as_of: datetime | None) -> list[dict[str, object]]:
        """Return what waited then, as `Ledger.unsettled` does where the disk can still be read.

        Records that wait for AWS are whole; of everything else there is one amount for each dimension (`rest`).
        """
        when = {"as_of": as_of.isoformat() if as_of else None}
        records = [{**record_entry(record), **when} for record in self.sealed]
        for one in self.balances:
            sealed = exact_sum(record.quantity for record in self.sealed if record.dimension == one.dimension)
            if rest := exact_difference(one.waiting, sealed):
                records.append({**amount_entry("rest", one.dimension, rest), **when})
        return records
