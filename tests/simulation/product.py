"""Push usage as a product does: with ids and without, again, late, and with the same id for something else.

Invariants:
- Bodies are JSON and go through the sidecar's own reader of `POST /v1/usage`.
- What the product sends again is what it sent, to the byte; it does so within the time that an id is known.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sidecar.metering.events import PushRefused, UsageEvent, parse_events
from sidecar.settings.dimensions import Aggregation, Dimension

QUANTITIES = ("0", "1", "0.000001", "7.25", "2147483647", "3")


class Product:
    """What makes and remembers events."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._count = 0
        self.sent: list[dict[str, object]] = []
        """Events with an id that may be sent again."""

    def body(self, dimensions: Mapping[str, Dimension], now: datetime, known: Sequence[str]) -> list[dict[str, object]]:
        """Return the events of one push; ids in `known` may come again."""
        self.sent = [one for one in self.sent if one["id"] in known and one["dimension"] in dimensions]
        return [self._event(dimensions, now) for _ in range(self._chance.choice((1, 1, 1, 2, 5)))]

    def _event(self, dimensions: Mapping[str, Dimension], now: datetime) -> dict[str, object]:
        chance = self._chance
        if self.sent and chance.random() < 0.25:
            again = chance.choice(self.sent)
            return {**again, "quantity": "5"} if chance.random() < 0.05 else again
        kind = dimensions[chance.choice(sorted(dimensions))]
        one: dict[str, object] = {"dimension": kind.name, "quantity": self._quantity()}
        if chance.random() < 0.75:
            self._count += 1
            one["id"] = f"event-{self._count}"
        if chance.random() < 0.4:
            one["at"] = (now + timedelta(minutes=self._minutes(kind))).isoformat()
        if kind.tags and chance.random() < 0.6:
            one["tags"] = {kind.tags[0]: chance.choice("abc")}
        if kind.aggregation is Aggregation.UNIQUE:
            one["key"] = chance.choice("vwxyz")
        if "id" in one:
            self.sent.append(one)
        return one

    def _quantity(self) -> str:
        return self._chance.choice((*QUANTITIES, str(self._chance.randrange(10**5))))

    def _minutes(self, kind: Dimension) -> float:
        far = (-400, -90, -2000) if kind.aggregation is Aggregation.SUM or self._chance.random() < 0.1 else (-1,)
        return self._chance.choice((-50, -20, -3, 0, 3, 4.5, *far))


def read(body: list[dict[str, object]], dimensions: Mapping[str, Dimension], now: datetime) -> tuple[UsageEvent, ...]:
    """Return the events of a body, as the route reads it; nothing where it is refused there."""
    found = parse_events(json.dumps(body).encode(), dimensions, now)
    return () if isinstance(found, PushRefused) else found
