"""Hold what a comparison came to: totals for each dimension and day, counts, notes and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.audit.input_files import Reading
from sidecar.audit.rows import Difference, Row, Source, day_of, units
from sidecar.quick_dataclasses import dataclass, field

OURS: Final = "ours"
"""Beside the names of `Source`: what a sum is of."""


@dataclass(kw_only=True)
class Outcome:
    """What a comparison came to."""

    compared: tuple[Source, ...]
    readings: dict[str, Reading] = field(default_factory=dict)
    """`exports`, and the names of what they were compared with → what was read."""
    counts: Counter[str] = field(default_factory=Counter)
    """Kind of difference → number."""
    sums: dict[str, dict[str, int]] = field(default_factory=dict)
    """Dimension → what it is a sum of → micros."""
    days: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    """(dimension, day) → the same."""
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Return whether there is no difference."""
        return not self.counts

    @property
    def faults(self) -> list[str]:
        """Return what could not be read."""
        return [fault for reading in self.readings.values() for fault in reading.faults]

    @property
    def all_notes(self) -> list[str]:
        """Return what a person should know about the result."""
        return [note for reading in self.readings.values() for note in reading.notes] + self.notes

    def add(self, what: str, rows: Iterable[Row]) -> None:
        """Add rows of one hour and dimension to the sums."""
        for row in rows:
            self.add_sum(what, row.dimension, day_of(row.hour), row.quantity)

    def add_sum(self, what: str, dimension: str, day: str, micros: int) -> None:
        """Add a quantity to the sums of its dimension and day."""
        for sums in (self.sums.setdefault(dimension, {}), self.days.setdefault((dimension, day), {})):
            sums[what] = sums.get(what, 0) + micros

    def count(self, found: Iterable[Difference]) -> list[Difference]:
        """Count differences, and return them."""
        listed = list(found)
        self.counts.update(one.kind.value for one in listed)
        return listed

    def totals(self) -> list[dict[str, str | None]]:
        """Return a row for each dimension; None where nothing was compared."""
        names = (OURS, *(one.value for one in self.compared))
        return [
            {"dimension": dimension, **{name: units(sums.get(name, 0)) for name in names}}
            for dimension, sums in sorted(self.sums.items())
        ]

    def read(self) -> Mapping[str, Mapping[str, object]]:
        """Return what was read and ignored, for machines."""
        return {
            name: {
                "files": len(reading.files),
                "lines": reading.lines,
                "records": reading.rows,
                "ignored": dict(sorted(reading.ignored.items())),
            }
            for name, reading in self.readings.items()
        }
