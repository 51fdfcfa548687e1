"""Real sidecars beside a real emulator, in the states that the status page is looked at in.

Invariants:
- Two days of usage are written with the ledger's own code before the sidecar starts: it finds a volume that was kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sidecar.emulator import Emulator
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.keys import SigningKeys
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import Micros
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.sealed_request import seal_request
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.settings.dimensions import Dimension
from tests.acceptance.support import PRODUCT, Sidecar, eventually

DIMENSIONS = (Dimension(name="requests"), Dimension(name="gb_hours", decimals=2))
POD = "5f0c1f6e-3a52-4c1b-9d7e-2b8a64f0c913"
DISPUTED_HOURS_AGO = 3
SCENES: Mapping[str, str] = {
    "entitled": "entitled",
    "disputed": "entitled",
    "denied": "denied",
    "misconfigured": "misconfigured",
}
"""Name → status of the gate."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One sidecar and its AWS."""

    sidecar: Sidecar
    aws: Emulator

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.sidecar.api_port}/"


@contextmanager
def scene(name: str, directory: Path, keys: SigningKeys, **more: str) -> Iterator[Scene]:
    """Run the sidecar of a scene until the page shows what it is about; `more` are settings."""
    behaviour = Behaviour(allowed=name != "misconfigured")
    dimensions = [one.name for one in DIMENSIONS]
    made = Emulator(
        product_codes=(PRODUCT,),
        dimensions=dimensions,
        keys=keys,
        subscribed=name != "denied",
        behaviour=behaviour,
    )
    if name in ("entitled", "disputed"):
        keep_two_days(directory, disputed=name == "disputed")
    given = {"POD_UID": POD, "SIDECAR_DIMENSIONS": ",".join(dimensions), **more}
    with made as aws, Sidecar(aws, directory, **given) as sidecar:
        sidecar.shows(SCENES[name])
        eventually(lambda: sidecar.api("GET /v1/usage")[0] == 200)
        for dimension, quantity in (("requests", "418"), ("gb_hours", "3.25")):
            sidecar.command("report", dimension, quantity)
        if SCENES[name] == "entitled":
            eventually(lambda: all(one["state"] != "sealed" for one in sidecar.api("GET /v1/usage")[1]["records"]))
        yield Scene(sidecar=sidecar, aws=aws)


def keep_two_days(directory: Path, *, disputed: bool) -> None:
    """Write a ledger whose hours AWS has accepted, but for the last one, and one that it disputes if wanted."""
    now = Hour.at(datetime.now(UTC))
    at = Hour(now.start - timedelta(hours=47)).start
    lost = (now.number - DISPUTED_HOURS_AGO, DIMENSIONS[0].name)
    owner = Owner(workload=POD, product_code=PRODUCT, region="us-east-1")
    ledger = Ledger.open(directory, owner, DIMENSIONS, at)
    try:
        while at < now.start:
            hour, after = Hour(at), at + timedelta(hours=1, seconds=5)
            ledger.push(_events(at), at + timedelta(minutes=20))
            for record in ledger.seal(hour, after, _make(after)):
                if hour != now.previous:
                    wrong = disputed and (hour.number, record.dimension) == lost
                    ledger.save(_answered(record, wrong), after, outcome="dispute" if wrong else "settle")
            at += timedelta(hours=1)
    finally:
        ledger.close()


def _events(at: datetime) -> list[UsageEvent]:
    """Return usage with the shape of a working day."""
    busy = 12 - abs(at.hour - 13) if 5 <= at.hour <= 21 else 2
    requests = 140 * busy + at.hour * 37 % 90
    amounts = {"requests": Decimal(requests), "gb_hours": Decimal(busy) / 4 if at.hour % 8 else Decimal(0)}
    return [
        UsageEvent(dimension=name, micros=Micros(int(amount * 1_000_000))) for name, amount in amounts.items() if amount
    ]


def _make(now: datetime) -> Callable[[Dimension, Hour, Owed], UsageRecord]:
    def record(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
        return UsageRecord(
            hour=hour,
            dimension=dimension.name,
            state=State.SEALED,
            quantity=owed.quantity,
            retry_at=now,
            request=seal_request(POD, PRODUCT, dimension.name, dimension.decimals, hour, owed, now),
        )

    return record


def _answered(record: UsageRecord, disputed: bool) -> UsageRecord:
    if disputed:
        error = "DuplicateRequestException"
        return replace(record, state=State.DISPUTED, attempts=1, last_error=error, retry_at=None, definite=False)
    return replace(record, state=State.SETTLED, attempts=1, retry_at=None, record_id=str(uuid.uuid4()))
