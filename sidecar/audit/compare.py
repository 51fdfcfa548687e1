"""Compare the records of one hour and dimension with what AWS billed for it. Pure.

Invariants:
- A billing belongs to one record, a record to one billing: first by metering record id, then by client token, then by
  quantity. Two CloudTrail events with one metering record id are one billing: AWS answers a repeated request with the
  id of the first.
- A quantity of 0 that only one side has is no difference: it costs nothing.
- Usage that waits and that AWS did not bill is a difference: it was used. Known are only records of exports, whose
  client tokens say that no other line is about the same record.

Sources: AWS Marketplace API Reference, MeterUsage (identical requests are idempotent and return the record id).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Final

from sidecar.audit.merge import Merged, merge
from sidecar.audit.pool import Pool
from sidecar.audit.rows import DISPUTED, ROLLED_FORWARD, Difference, Kind, Row, Source, hour_difference
from sidecar.quick_dataclasses import dataclass, field

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
WAITING: Final[Mapping[str, str]] = {
    "sealed": UNSETTLED["sealed"],
    "expired": UNSETTLED["expired"],
    "rejected": "Our record is rejected and waits for a person: `usage retry`.",
    "disputed": "Our record is disputed and waits for a person: `usage retry`.",
}
"""State of our record → what it means that AWS billed nothing for it."""


@dataclass(kw_only=True)
class HourResult:
    """What one hour and dimension came to."""

    settled: list[Row]
    """Our settled records, each once."""
    billed: list[Row]
    """What AWS billed, each once."""
    differences: list[Difference]
    waiting: list[Difference]
    """Usage that AWS has not billed, as far as is known: a difference where there are data of AWS's."""


@dataclass(kw_only=True)
class _Matching:
    """Which rows are still without a partner."""

    merged: Merged
    settled: Pool = field(default_factory=Pool)
    """Ours, without a billing so far."""
    partnered: Pool = field(default_factory=Pool)
    """Ours, with their billing."""
    unsettled: Pool = field(default_factory=Pool)
    disputed: list[Row] = field(default_factory=list)
    """Those of `unsettled` of which AWS holds another quantity."""
    found: list[Difference] = field(default_factory=list)

    def run(self) -> list[Difference]:
        """Pair what belongs together, and return what is left or differs."""
        rest = self._by_record_id()
        if rest:
            rest = self._by_content(rest)
        self.found += [_unknown(billed) for billed in rest if billed.quantity]
        self.found += [
            hour_difference(Kind.NOT_BILLED, ours, NOT_BILLED, ours=ours.quantity, state=ours.state)
            for ours in self.settled.rows()
            if ours.quantity
        ]
        return self.found

    def _by_record_id(self) -> list[Row]:
        """Pair by metering record id, and return the billings that are left: none, as a rule."""
        rest = dict(self.merged.billed)
        self.unsettled = Pool(self.merged.unsettled.values())
        partnered = []
        for record_id, ours in self.merged.settled.items():
            billed = rest.pop(record_id, None)
            if billed is None:
                self.settled.add(ours)
                continue
            partnered.append(ours)
            if billed.quantity != ours.quantity:
                self.found.append(_other(ours, billed, OTHER_QUANTITY))
        if rest:
            self.partnered = Pool(partnered)
            self.disputed = [row for row in self.merged.unsettled.values() if row.state == DISPUTED]
        return list(rest.values())

    def _by_content(self, rest: list[Row]) -> list[Row]:
        """Pair what has no record id in common, the surest sign first; return what is left."""
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
        return rest

    def _by_token(self, billed: Row) -> bool:
        if ours := self.settled.with_token(billed.tokens):
            self._partner(ours)
            if ours.quantity != billed.quantity:
                self.found.append(_other(ours, billed, OTHER_TOKEN_QUANTITY))
        elif ours := self.partnered.with_token(billed.tokens):
            self.found.append(_twice(ours, billed, AGAIN))
        elif ours := self.unsettled.with_token(billed.tokens):
            self._unsettled(ours, billed)
        return ours is not None

    def _by_quantity(self, billed: Row) -> bool:
        ours = self.settled.with_quantity(billed.quantity, lambda row: _fits(row, billed))
        if ours:
            self._partner(ours)
        return ours is not None

    def _by_rolled_forward(self, billed: Row) -> bool:
        return self._unsettled(self._waiting((ROLLED_FORWARD,), billed), billed)

    def _by_unsettled(self, billed: Row) -> bool:
        return self._unsettled(self._waiting(UNSETTLED, billed), billed)

    def _by_dispute(self, billed: Row) -> bool:
        ours = next((row for row in self.disputed if self.unsettled.has(row) and _fits(row, billed)), None)
        return self._unsettled(ours, billed)

    def _by_repetition(self, billed: Row) -> bool:
        ours = (
            self.partnered.with_quantity(billed.quantity, lambda row: _fits(row, billed)) if billed.quantity else None
        )
        if ours:
            self.found.append(_twice(ours, billed, AGAIN))
        return ours is not None

    def _partner(self, ours: Row) -> None:
        self.settled.remove(ours)
        self.partnered.add(ours)

    def _waiting(self, states: Container[str], billed: Row) -> Row | None:
        """Return a record that is not settled, in one of these states, with the quantity of a billing."""
        return self.unsettled.with_quantity(billed.quantity, lambda row: row.state in states and _fits(row, billed))

    def _unsettled(self, ours: Row | None, billed: Row) -> bool:
        """Name the billing of a record that the ledger does not count as billed. Returns whether there is a record."""
        if ours is None:
            return False
        self.unsettled.remove(ours)
        if ours.state == DISPUTED:
            self.found.append(_other(ours, billed, DISPUTE))
        elif ours.state == ROLLED_FORWARD and billed.quantity:
            self.found.append(_twice(ours, billed, ROLLED))
        elif billed.quantity:
            self.found.append(_not_settled(ours, billed))
        return True


def compare_hour(rows: Iterable[Row], against_billed: bool = True) -> HourResult:
    """Compare the rows of one hour and dimension. `against_billed`: whether there are data of AWS's to compare with."""
    merged = merge(rows)
    settled, billed = list(merged.settled.values()), list(merged.billed.values())
    found, unsettled = list(merged.contradictions), list(merged.unsettled.values())
    if against_billed:
        for name in merged.doubtful:
            merged.settled.pop(name, None)
            merged.billed.pop(name, None)
        matching = _Matching(merged=merged)
        found += matching.run()
        unsettled = matching.unsettled.rows()
    source = Source.CLOUDTRAIL if against_billed else Source.DAILY_USAGE
    return HourResult(settled=settled, billed=billed, differences=found, waiting=_waiting(unsettled, settled, source))


def _waiting(unsettled: Iterable[Row], settled: Iterable[Row], source: Source) -> list[Difference]:
    """Return usage that waits. A line about a record that another line says is settled is older: it is left out."""
    done = {row.workload for row in settled if row.workload}
    return [
        hour_difference(Kind.NOT_BILLED, row, WAITING[row.state], source=source, ours=row.quantity, state=row.state)
        for row in unsettled
        if row.quantity and row.state in WAITING and row.tokens and row.workload not in done
    ]


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


def _unknown(billed: Row) -> Difference:
    return hour_difference(Kind.BILLED_UNKNOWN, billed, UNKNOWN, billed=billed.quantity)


def _not_settled(ours: Row, billed: Row) -> Difference:
    return hour_difference(
        Kind.BILLED_UNKNOWN,
        billed,
        UNSETTLED.get(ours.state, UNKNOWN),
        billed=billed.quantity,
        state=ours.state,
        workload=ours.workload,
        origins=(ours.origin, billed.origin),
    )


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
