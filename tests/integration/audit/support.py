"""Pods that meter for real: a ledger on disk, the emulator over HTTP, exports and AWS's reports as files."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sidecar.emulator import Emulator
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import to_micros
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from sidecar.settings.dimensions import Dimension
from tests.integration.emulator.conftest import client
from tests.integration.ledger.support import audit_copy
from tests.integration.ledger.support import make as sealed_by

PRODUCT = "product"
"""As the ledger stories seal it."""
START = datetime(2026, 1, 2, 22, 10, tzinfo=UTC)
"""Two hours before midnight: a story reaches the next day."""
DIMENSIONS = (Dimension(name="requests"), Dimension(name="gigabytes", decimals=6))


@dataclass
class Pod:
    """One workload with its ledger."""

    aws: Emulator
    directory: Path
    workload: str = "pod-1"
    now: datetime = START
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        owner = Owner(workload=self.workload, product_code=PRODUCT, region="us-east-1")
        self.ledger = Ledger.open(self.directory, owner, DIMENSIONS, self.now)

    def hour(self, requests: str, gigabytes: str = "0", *, submit: bool = True) -> tuple[UsageRecord, ...]:
        """Use something in the running hour, seal it when it has ended, and settle it."""
        used = {"requests": requests, "gigabytes": gigabytes}
        events = [
            UsageEvent(dimension=name, micros=to_micros(Decimal(quantity)))
            for name, quantity in used.items()
            if Decimal(quantity)
        ]
        self.ledger.push(events, self.now)
        hour = Hour.at(self.now)
        self.now += timedelta(hours=1)
        self.aws.set_clock(now=self.now, speed=0)
        sealed = self.ledger.seal(hour, self.now, self._sealed)
        return tuple(self.submit(record) for record in sealed) if submit else sealed

    def _sealed(self, dimension: Dimension, hour: Hour, owed: Any) -> UsageRecord:
        return sealed_by(self.now, self.workload)(dimension, hour, owed)

    def bill(self, record: UsageRecord) -> str:
        """Have AWS bill a record, as when its answer is lost afterwards."""
        assert record.request is not None
        answer = client(self.aws.url, workload=self.workload).meter_usage(**record.request.as_wire(True))
        return str(answer["MeteringRecordId"])

    def submit(self, record: UsageRecord) -> UsageRecord:
        """Have AWS bill a record, and keep its answer."""
        self.ledger.mark_sending([record])
        settled = replace(record, state=State.SETTLED, record_id=self.bill(record), attempts=1)
        return self.ledger.save(settled, self.now, outcome="settled")

    def roll_forward(self, record: UsageRecord) -> UsageRecord:
        """Have the ledger count a record in the running hour."""
        expired = replace(record, state=State.EXPIRED)
        return self.ledger.save(expired, self.now, outcome="too_late", roll_forward=True)

    def export(self, path: Path) -> Path:
        """Write what `usage export` prints."""
        path.write_text("".join(f"{line}\n" for line in audit_copy(self.ledger)))
        return path


def fetched(aws: Emulator, route: str, path: Path) -> Path:
    """Write what the emulator reports."""
    with urllib.request.urlopen(f"{aws.url}/_emulator/{route}", timeout=10) as answer:
        path.write_bytes(answer.read())
    return path


def events_of(path: Path) -> list[dict[str, Any]]:
    """Return the events of a CloudTrail file."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["Records"]
    return found


def write_events(path: Path, events: list[dict[str, Any]]) -> Path:
    """Write a CloudTrail file."""
    path.write_text(json.dumps({"Records": events}))
    return path
