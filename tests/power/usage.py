"""Say what a recorded process pushes and keeps, so that the process and its judge agree without telling each other."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final

from sidecar.ledger import kept_file
from sidecar.ledger.opening import Owner
from sidecar.metering.events import UsageEvent
from sidecar.metering.quantities import Micros
from sidecar.quick_dataclasses import replace
from sidecar.settings.dimensions import Dimension

BEGIN: Final = datetime(2026, 1, 2, 12, 10, tzinfo=UTC)
LIFE: Final = timedelta(hours=2)
OWNER: Final = Owner(workload="pod-1", product_code="product", region="us-east-1")
SUCCESSOR: Final = replace(OWNER, workload="pod-2")
DIMENSIONS: Final = (Dimension(name="requests"), Dimension(name="gigabytes", decimals=3, tags=("tenant",)))
REMOVED_EACH: Final = 5
"""Of the versions of the seats' file, each so manyth is that there is none."""


def begin_of(life: int) -> datetime:
    """Return the time at which a life begins."""
    return BEGIN + life * LIFE


@lru_cache(maxsize=4096)
def events_of(push: str) -> tuple[UsageEvent, ...]:
    """Return the events of a push, by its name."""
    chance = random.Random(push)
    found: list[UsageEvent] = []
    for number in range(chance.choice([1, 1, 2, 3, 8])):
        requests = chance.random() < 0.6
        micros = chance.randint(1, 9) * 1_000_000 if requests else chance.randint(1, 9_999) * 1_000
        event = UsageEvent(dimension="requests" if requests else "gigabytes", micros=Micros(micros))
        tags = () if requests else (("tenant", f"t{chance.randint(1, 3)}"),)
        found.append(event._replace(id=f"{push}-{number}", tags=tags))
    return tuple(found)


def owed(pushes: Iterable[str], dimension: str) -> Decimal:
    """Return what pushes come to in one dimension."""
    events = (event for push in pushes for event in events_of(push))
    return Decimal(sum(event.micros for event in events if event.dimension == dimension)) / 1_000_000


def kept_paths(directory: Path) -> dict[str, Path]:
    """Return the small files that are replaced whole."""
    made = (kept_file.answer_path, kept_file.pass_path, kept_file.contract_path, kept_file.seats_path)
    return {one.__name__.removesuffix("_path"): one(directory, OWNER.workload) for one in made}


def kept_text(name: str, number: int) -> str | None:
    """Return a file's text in one version; None where it is removed."""
    if name == "seats" and number % REMOVED_EACH == REMOVED_EACH - 1:
        return None
    return json.dumps({"name": name, "number": number, "filling": "x" * random.Random(number).randint(0, 6_000)})
