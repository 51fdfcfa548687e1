"""Define what is compared: records of ours, usage that AWS billed, and the differences between them.

Invariants:
- Quantities are micros (10⁻⁶ of a unit), as whole numbers: nothing is rounded.
- What is unknown is empty, never guessed.

Sources: AWS Marketplace API Reference, MeterUsage (at most six decimal places; one record for a task or pod, dimension
and hour).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from sidecar.metering.hours import Hour
from sidecar.metering.quantities import MICROS_PER_UNIT, micros_to_decimal, plain
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass

SETTLED: Final = State.SETTLED.value
ROLLED_FORWARD: Final = State.ROLLED_FORWARD.value
DISPUTED: Final = State.DISPUTED.value
BILLED: Final = "billed"
"""Stands in place of a state in the rows that come from AWS."""


class Row(NamedTuple):
    """A record of ours, or one usage that AWS billed."""

    hour: int
    """Number of the hour since the epoch."""
    dimension: str
    state: str
    """The record's state, or BILLED."""
    quantity: int
    """Micros."""
    record_id: str = ""
    """AWS's metering record id."""
    tokens: str = ""
    """Client tokens of its requests, separated by blanks; the first names the record."""
    workload: str = ""
    product: str = ""
    region: str = ""
    account: str = ""
    origin: str = ""
    """File and line, or number of the event."""


class Kind(Enum):
    """What a difference is."""

    BILLED_UNKNOWN = "billed_unknown"
    """AWS billed it, and no export has it."""
    NOT_BILLED = "not_billed"
    """It was used, and AWS's data do not have it."""
    OTHER_QUANTITY = "other_quantity"
    BILLED_TWICE = "billed_twice"
    CONTRADICTION = "contradiction"
    """Two lines say different things of one metering record: one of them is not what the sidecar or AWS wrote."""


class Source(Enum):
    """What our records were compared with."""

    EXPORTS = "exports"
    """With each other."""
    CLOUDTRAIL = "cloudtrail"
    DAILY_USAGE = "daily_usage"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference between what was used and what was billed."""

    kind: Kind
    source: Source
    when: str
    """The hour, or the day of the Daily Usage feed."""
    dimension: str
    ours: int | None = None
    """Micros; None where there is nothing of ours."""
    billed: int | None = None
    """Micros; None where AWS billed nothing."""
    state: str = ""
    """State of our record."""
    record_id: str = ""
    workload: str = ""
    product: str = ""
    region: str = ""
    account: str = ""
    note: str = ""
    origins: tuple[str, ...] = ()

    @property
    def excess(self) -> int:
        """Return by how much AWS billed too much, in micros; negative where it billed too little."""
        if self.kind is Kind.BILLED_TWICE:
            return self.billed or 0
        return (self.billed or 0) - (self.ours or 0)

    def as_json(self) -> dict[str, object]:
        """Return the difference for machines; quantities as text, what is unknown as null."""
        return {
            "kind": self.kind.value,
            "source": self.source.value,
            "when": self.when,
            "dimension": self.dimension,
            "ours": None if self.ours is None else units(self.ours),
            "billed": None if self.billed is None else units(self.billed),
            "state": self.state or None,
            "metering_record_id": self.record_id or None,
            "workload": self.workload or None,
            "product_code": self.product or None,
            "region": self.region or None,
            "account": self.account or None,
            "note": self.note or None,
            "origins": list(self.origins),
        }


def units(micros: int) -> str:
    """Return micros as a number of units, in plain notation."""
    if micros % MICROS_PER_UNIT == 0:
        return str(micros // MICROS_PER_UNIT)
    sign = "-" if micros < 0 else ""
    return sign + plain(micros_to_decimal(abs(micros)))


def hour_text(number: int) -> str:
    """Return an hour as people write it."""
    return str(Hour.numbered(number))


@lru_cache(maxsize=4096)
def day_of(hour: int) -> str:
    """Return the UTC day that an hour is in, as `2026-11-20`."""
    return f"{Hour.numbered(hour).start:%Y-%m-%d}"


def hour_difference(kind: Kind, row: Row, note: str = "", **more: object) -> Difference:
    """Return a difference about the record that a row is about."""
    values: dict[str, object] = {
        "kind": kind,
        "source": Source.CLOUDTRAIL,
        "when": hour_text(row.hour),
        "dimension": row.dimension,
        "record_id": row.record_id,
        "workload": row.workload,
        "product": row.product,
        "region": row.region,
        "account": row.account,
        "note": note,
        "origins": (row.origin,),
    }
    return Difference(**(values | more))  # type: ignore[arg-type]
