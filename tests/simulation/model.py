"""Keep what the product was told is kept, in plain decimals, apart from the ledger.

Invariants:
- Nothing is asked of the ledger but its first open hour, where the rule for a late event needs it.
- A push whose answer was lost is counted once it is seen whether it is in: whole, or not at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings.dimensions import Aggregation, Dimension

KNOWN = timedelta(hours=23)
"""An id is known for 24 hours at least; an hour of it is left to clocks that slew."""

Value = tuple[datetime, Decimal, str | None, bool]
"""When, how much, the key, and whether the product said when."""


@dataclass
class Batch:
    """One push, and what it would count as."""

    workload: str
    events: Sequence[UsageEvent]
    now: datetime
    forward: timedelta
    open_from: Hour
    acknowledged: bool = False


@dataclass
class Model:
    """What all ledgers of one volume must hold together."""

    accepted: dict[str, Decimal] = field(default_factory=dict)
    events: int = 0
    ids: dict[str, tuple[UsageEvent, timedelta]] = field(default_factory=dict)
    unclear: list[Batch] = field(default_factory=list)
    """Pushes whose answer was lost, or which the disk may have kept all the same, and what was acknowledged since."""
    _values: dict[tuple[str, str, Hour], list[Value]] = field(default_factory=dict)
    _known: Mapping[str, Dimension] = field(default_factory=dict)

    def configure(self, dimensions: Mapping[str, Dimension]) -> None:
        """Take note of dimensions; what is known of one stays while it is not configured."""
        self._known = {**self._known, **dimensions}

    # -- one push ----------------------------------------------------------------------------------

    def expected(self, batch: Batch) -> PushAccepted | int:
        """Return what a push is answered, or the status of its refusal."""
        fresh: dict[str, UsageEvent] = {}
        new, conflict = 0, False
        for one in batch.events:
            before = fresh.get(one.id) or self._first_with(one.id) if one.id is not None else None
            if before is not None and one == before:
                continue
            if self._late(one, batch):
                return 422
            if before is not None:
                conflict = True
                continue
            if one.id is not None:
                fresh[one.id] = one
            new += 1
        return 409 if conflict else PushAccepted(accepted=new, duplicates=len(batch.events) - new)

    def _first_with(self, identifier: str) -> UsageEvent | None:
        known = self.ids.get(identifier)
        return known[0] if known else None

    def _late(self, one: UsageEvent, batch: Batch) -> bool:
        summed = self._known[one.dimension].aggregation is Aggregation.SUM
        return one.at is not None and not summed and Hour.at(one.at) < batch.open_from

    def take(self, batch: Batch) -> Callable[[], None]:
        """Count a push; returns what undoes that."""
        accepted, events, ids = dict(self.accepted), self.events, dict.fromkeys(self._fresh(batch))
        changed: dict[tuple[str, str, Hour], list[Value] | None] = {}
        for one in self._new(batch):
            self.events += 1
            if one.id is not None:
                self.ids[one.id] = one, batch.forward
            self._count(one, batch, changed)

        def undo() -> None:
            self.accepted, self.events = accepted, events
            for identifier in ids:
                self.ids.pop(identifier, None)
            for key, before in changed.items():
                if before is None:
                    self._values.pop(key, None)
                else:
                    self._values[key] = before

        return undo

    def _fresh(self, batch: Batch) -> list[str]:
        return [one.id for one in batch.events if one.id is not None and one.id not in self.ids]

    def _new(self, batch: Batch) -> list[UsageEvent]:
        found, seen = [], set(self.ids)
        for one in batch.events:
            if one.id is None or one.id not in seen:
                found.append(one)
            if one.id is not None:
                seen.add(one.id)
        return found

    def _count(self, one: UsageEvent, batch: Batch, changed: dict[tuple[str, str, Hour], list[Value] | None]) -> None:
        dimension, amount = self._known[one.dimension], Decimal(one.micros) / 1_000_000
        at = one.at or batch.now
        if dimension.aggregation is Aggregation.SUM:
            self._add(one.dimension, amount * dimension.scale)
            return
        key = batch.workload, one.dimension, max(Hour.at(at), batch.open_from)
        before = self._values.get(key)
        changed.setdefault(key, None if before is None else list(before))
        values = [*(before or ()), (at, amount, one.key, one.at is not None)]
        was = comes_to(dimension, before or [])
        self._values[key] = values
        self._add(one.dimension, (comes_to(dimension, values) - was) * dimension.scale)

    def _add(self, dimension: str, amount: Decimal) -> None:
        self.accepted[dimension] = self.accepted.get(dimension, Decimal(0)) + amount

    # -- pushes without an answer ------------------------------------------------------------------

    def settle(self, accepted: Mapping[str, Decimal], events: int) -> bool:
        """Find out which unclear pushes are in, and count them. Returns whether the books then agree.

        What was acknowledged is in, whatever else may come to the same sums.
        """
        doubtful = [place for place, one in enumerate(self.unclear) if not one.acknowledged]
        for count in range(len(doubtful) + 1):
            for left_out in itertools.combinations(doubtful, len(doubtful) - count):
                these = [one for place, one in enumerate(self.unclear) if place not in left_out]
                undone = [self.take(one) for one in these]
                if self.agrees(accepted, events):
                    self.unclear = []
                    return True
                for undo in reversed(undone):
                    undo()
        return False

    def agrees(self, accepted: Mapping[str, Decimal], events: int) -> bool:
        """Return whether books hold what was counted here."""
        names = {*accepted, *self.accepted}
        return events == self.events and all(accepted.get(one, 0) == self.accepted.get(one, 0) for one in names)

    def forget(self, forward: timedelta) -> None:
        """Forget ids that may be forgotten: from then on the product does not send them again."""
        self.ids = {name: known for name, known in self.ids.items() if forward - known[1] < KNOWN}

    def end_hours(self, before: Hour) -> None:
        """Drop the values of hours so old that nothing is added to them."""
        self._values = {key: values for key, values in self._values.items() if key[2] >= before}


def comes_to(dimension: Dimension, values: Sequence[Value]) -> Decimal:
    """Return what the values of one hour come to."""
    if dimension.aggregation is Aggregation.MAX:
        return max((value for _, value, *_ in values), default=Decimal(0))
    if dimension.aggregation is Aggregation.UNIQUE:
        return Decimal(len({key for _, _, key, _ in values}))
    return _last(values)


def _last(values: Sequence[Value]) -> Decimal:
    """Return the last of them: one without an instant of its own is later than everything before it."""
    found, since = Decimal(0), None
    for at, value, _, stated in values:
        if not stated or since is None or at >= since:
            found, since = value, at
    return found


__all__ = ["Batch", "Model", "PushAccepted", "PushRefused"]
