"""Merge lines about the same record: a pod is seen in several exports and in its log.

Invariants:
- A record counts once: by its metering record id where it is settled, else by the first client token of its requests.
- Of several states the furthest is true: an export may be older than another.
- Lines that contradict each other are named, and none of them is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.audit.rows import BILLED, ROLLED_FORWARD, SETTLED, Difference, Kind, Row, Source, hour_difference, units
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field

RANK: Final[Mapping[str, int]] = {
    State.OPEN.value: 0,
    State.SEALED.value: 1,
    State.EXPIRED.value: 2,
    State.REJECTED.value: 2,
    State.DISPUTED.value: 2,
    ROLLED_FORWARD: 3,
    SETTLED: 4,
}
"""How far a state is."""
FILLED: Final = ("tokens", "workload", "product", "region", "account")
"""Fields that one line may know and another not: a log has no client token, an export no account."""
SAME: Final = ("quantity", "workload", "product", "region")
"""Fields in which no two lines about one metering record may differ, where both know them."""


@dataclass(kw_only=True)
class Merged:
    """The records of one hour and dimension, each once."""

    settled: dict[str, Row] = field(default_factory=dict)
    """By metering record id; by workload where a person accepted what AWS billed without one: it has one of these."""
    unsettled: dict[str, Row] = field(default_factory=dict)
    """By first client token, or by file and line where there is none."""
    billed: dict[str, Row] = field(default_factory=dict)
    """By metering record id, or by file and event where there is none."""
    contradictions: list[Difference] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    """What contradictions are about, as it is named above."""

    def add(self, row: Row) -> None:
        """Add a row to those of its sort."""
        if row.state == BILLED:
            self._put(self.billed, row.record_id or row.origin, row)
        elif row.state == SETTLED:
            self._put(self.settled, row.record_id or row.workload or _first_token(row) or row.origin, row)
        else:
            self._keep_furthest(row)

    def _put(self, rows: dict[str, Row], name: str, row: Row) -> None:
        known = rows.get(name)
        if known is None:
            rows[name] = row
        elif fault := _contradiction(known, row):
            self.contradictions.append(fault)
            self.doubtful.add(name)
        elif any(not getattr(known, one) and getattr(row, one) for one in FILLED):
            rows[name] = known._replace(**{one: getattr(known, one) or getattr(row, one) for one in FILLED})

    def _keep_furthest(self, row: Row) -> None:
        name = _first_token(row) or row.origin
        known = self.unsettled.get(name)
        if known is None or RANK[known.state] < RANK[row.state]:
            self.unsettled[name] = row

    def forget_superseded(self) -> None:
        """Forget lines about records that another line says are settled; both final states at once contradict."""
        for name, settled in self.settled.items():
            other = self.unsettled.pop(_first_token(settled), None)
            if other is not None and other.state == ROLLED_FORWARD:
                self.doubtful.add(name)
                note = "One line says settled, another rolled_forward; both are final. Which ledger was restored?"
                self.contradictions.append(
                    hour_difference(
                        Kind.CONTRADICTION,
                        settled,
                        note,
                        source=Source.EXPORTS,
                        ours=settled.quantity,
                        origins=(settled.origin, other.origin),
                    )
                )


def merge(rows: Iterable[Row]) -> Merged:
    """Return the records of one hour and dimension, each once."""
    merged = Merged()
    for row in rows:
        merged.add(row)
    merged.forget_superseded()
    return merged


def _first_token(row: Row) -> str:
    return row.tokens.partition(" ")[0]


def _contradiction(known: Row, row: Row) -> Difference | None:
    for name in SAME:
        one, other = getattr(known, name), getattr(row, name)
        if one != other and (name == "quantity" or (one and other)):
            shown = (units(one), units(other)) if name == "quantity" else (one, other)
            billed = row.state == BILLED
            return hour_difference(
                Kind.CONTRADICTION,
                known,
                f"The same metering record with {name.replace('product', 'product code')} {shown[0]} and {shown[1]}.",
                source=Source.CLOUDTRAIL if billed else Source.EXPORTS,
                **{"billed" if billed else "ours": known.quantity},
                origins=(known.origin, row.origin),
            )
    return None
