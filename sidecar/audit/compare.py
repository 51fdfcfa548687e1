"""Compare the records of one hour and dimension with what AWS billed for it. Pure.

Invariants:
- A billing belongs to one record, a record to one billing: first by metering record id, then by client token, then by
  quantity. Two CloudTrail events with one metering record id are one billing: AWS answers a repeated request with the
  id of the first.
- A quantity of 0 that only one side has is no difference: it costs nothing.

Sources: AWS Marketplace API Reference, MeterUsage (identical requests are idempotent and return the record id).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidecar.audit.merge import Merged, merge
from sidecar.audit.rows import DISPUTED, ROLLED_FORWARD, Difference, Kind, Row, hour_difference

UNKNOWN: Final = "No export has it. Is the export of a pod missing, or did something else meter this product?"
NOT_BILLED: Final = (
    "The ledger has AWS's metering record id, the events do not. Are all accounts, Regions and hours in them?"
)
OTHER_QUANTITY: Final = "The ledger settled another quantity under this metering record id."
OTHER_TOKEN_QUANTITY: Final = "AWS's event has the client token of our request, and another quantity."  # noqa: S105 - no secret
AGAIN: Final = (
    "AWS billed this quantity for this hour a second time, under another metering record id. Or is the export of"
    " another pod with the same quantity missing?"
)
ROLLED: Final = "It was rolled forward and billed in a later hour as well."
DISPUTE: Final = "Our record is disputed: AWS holds this quantity for the hour."
UNSETTLED: Final[Mapping[str, str]] = {
    "sealed": "Our record is not settled yet in the export. Export again, or look whether the sidecar still runs.",
    "expired": "Our record is expired, and its usage waits to be billed again in a later hour.",
    "rejected": "Our record is rejected. `usage retry --confirm` with this metering record id settles it.",
}
"""State of our record → what a billing of it means."""


@dataclass(kw_only=True)
class HourResult:
    """What one hour and dimension came to."""

    settled: list[Row]
    """Our settled records, each once."""
    billed: list[Row]
    """What AWS billed, each once."""
    differences: list[Difference]


@dataclass(kw_only=True)
class _Matching:
    """Which rows are still without a partner."""

    merged: Merged
    settled: list[Row] = field(default_factory=list)
    """Ours, without a billing so far."""
    partnered: list[Row] = field(default_factory=list)
    """Ours, with their billing."""
    unsettled: list[Row] = field(default_factory=list)
    found: list[Difference] = field(default_factory=list)

    def run(self) -> list[Difference]:
        """Pair what belongs together, and return what is left or differs."""
        self.unsettled = list(self.merged.unsettled.values())
        rest = self._by_record_id()
        steps: tuple[Callable[[Row], bool], ...] = (
            self._by_token,
            self._by_quantity,
            self._by_rolled_forward,
            self._by_unsettled,
            self._by_dispute,
            self._by_repetition,
        )
        for step in steps:
            rest = [billed for billed in rest if not step(billed)]
        self.found += [_unknown(billed) for billed in rest if billed.quantity]
        self.found += [
            hour_difference(Kind.NOT_BILLED, ours, NOT_BILLED, ours=ours.quantity, state=ours.state)
            for ours in self.settled
            if ours.quantity
        ]
        return self.found

    def _by_record_id(self) -> list[Row]:
        rest = dict(self.merged.billed)
        for record_id, ours in self.merged.settled.items():
            billed = rest.pop(record_id, None)
            if billed is None:
                self.settled.append(ours)
                continue
            self.partnered.append(ours)
            if billed.quantity != ours.quantity:
                self.found.append(_other(ours, billed, OTHER_QUANTITY))
        return list(rest.values())

    def _by_token(self, billed: Row) -> bool:
        if not billed.tokens:
            return False
        if ours := _take(self.settled, lambda row: billed.tokens in row.tokens.split()):
            self.partnered.append(ours)
            if ours.quantity != billed.quantity:
                self.found.append(_other(ours, billed, OTHER_TOKEN_QUANTITY))
            return True
        if ours := _find(self.partnered, lambda row: billed.tokens in row.tokens.split()):
            self.found.append(_twice(ours, billed, AGAIN))
            return True
        ours = _take(self.unsettled, lambda row: billed.tokens in row.tokens.split())
        return ours is not None and self._unsettled(ours, billed)

    def _by_quantity(self, billed: Row) -> bool:
        ours = _take(self.settled, lambda row: _alike(row, billed))
        if ours:
            self.partnered.append(ours)
        return ours is not None

    def _by_rolled_forward(self, billed: Row) -> bool:
        ours = _take(self.unsettled, lambda row: row.state == ROLLED_FORWARD and _alike(row, billed))
        return ours is not None and self._unsettled(ours, billed)

    def _by_unsettled(self, billed: Row) -> bool:
        ours = _take(self.unsettled, lambda row: row.state in UNSETTLED and _alike(row, billed))
        return ours is not None and self._unsettled(ours, billed)

    def _by_dispute(self, billed: Row) -> bool:
        ours = _take(self.unsettled, lambda row: row.state == DISPUTED and _fits(row, billed))
        return ours is not None and self._unsettled(ours, billed)

    def _by_repetition(self, billed: Row) -> bool:
        ours = _find(self.partnered, lambda row: bool(row.quantity) and _alike(row, billed))
        if ours:
            self.found.append(_twice(ours, billed, AGAIN))
        return ours is not None

    def _unsettled(self, ours: Row, billed: Row) -> bool:
        """Name the billing of a record that the ledger does not count as billed."""
        if ours.state == DISPUTED:
            self.found.append(_other(ours, billed, DISPUTE))
        elif ours.state == ROLLED_FORWARD and billed.quantity:
            self.found.append(_twice(ours, billed, ROLLED))
        elif billed.quantity:
            note = UNSETTLED.get(ours.state, UNKNOWN)
            self.found.append(
                hour_difference(
                    Kind.BILLED_UNKNOWN,
                    billed,
                    note,
                    billed=billed.quantity,
                    state=ours.state,
                    workload=ours.workload,
                    origins=(ours.origin, billed.origin),
                )
            )
        return True


def compare_hour(rows: Iterable[Row], against_billed: bool = True) -> HourResult:
    """Compare the rows of one hour and dimension. `against_billed`: whether there are data of AWS's to compare with."""
    merged = merge(rows)
    settled, billed = list(merged.settled.values()), list(merged.billed.values())
    found = list(merged.contradictions)
    if against_billed:
        for name in merged.doubtful:
            merged.settled.pop(name, None)
            merged.billed.pop(name, None)
        found += _Matching(merged=merged).run()
    return HourResult(settled=settled, billed=billed, differences=found)


def _find(rows: list[Row], fits: Callable[[Row], bool]) -> Row | None:
    return next((row for row in rows if fits(row)), None)


def _take(rows: list[Row], fits: Callable[[Row], bool]) -> Row | None:
    """Return the first row that fits, and remove it."""
    for at, row in enumerate(rows):
        if fits(row):
            return rows.pop(at)
    return None


def _fits(ours: Row, billed: Row) -> bool:
    """Return whether both can be of one product, Region and account; what is unknown fits all."""
    return all(
        not one or not other or one == other
        for one, other in (
            (ours.product, billed.product),
            (ours.region, billed.region),
            (ours.account, billed.account),
        )
    )


def _alike(ours: Row, billed: Row) -> bool:
    return ours.quantity == billed.quantity and _fits(ours, billed)


def _unknown(billed: Row) -> Difference:
    return hour_difference(Kind.BILLED_UNKNOWN, billed, UNKNOWN, billed=billed.quantity)


def _other(ours: Row, billed: Row, note: str) -> Difference:
    return _both(Kind.OTHER_QUANTITY, ours, billed, note)


def _twice(ours: Row, billed: Row, note: str) -> Difference:
    return _both(Kind.BILLED_TWICE, ours, billed, note)


def _both(kind: Kind, ours: Row, billed: Row, note: str) -> Difference:
    return hour_difference(
        kind,
        billed,
        note,
        ours=ours.quantity,
        billed=billed.quantity,
        state=ours.state,
        workload=ours.workload,
        region=billed.region or ours.region,
        origins=(ours.origin, billed.origin),
    )
