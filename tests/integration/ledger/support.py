"""Ledgers on a real disk, and stories told with them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.ledger.volume import ledger_path
from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import PushResult
from sidecar.metering.quantities import Micros
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.sealed_request import seal_request
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings.dimensions import Aggregation, Dimension, Scope

NOON = datetime(2026, 1, 2, 12, 10, tzinfo=UTC)
HOUR = Hour.at(NOON)
OWNER = Owner(workload="pod-1", product_code="product", region="us-east-1")
DIMENSIONS = (
    Dimension(name="requests"),
    Dimension(name="gigabytes", scale=Decimal("0.001"), decimals=3, tags=("tenant",)),
    Dimension(name="peak", aggregation=Aggregation.MAX, scope=Scope.POD),
    Dimension(name="level", aggregation=Aggregation.LAST, scope=Scope.POD),
    Dimension(name="users", aggregation=Aggregation.UNIQUE, scope=Scope.POD),
)


def event(dimension: str = "requests", quantity: str = "1", **more: object) -> UsageEvent:
    made = UsageEvent(dimension=dimension, micros=Micros(int(Decimal(quantity) * 1_000_000)))
    return made._replace(**more)  # type: ignore[arg-type]


def make(now: datetime, workload: str = OWNER.workload) -> Callable[[Dimension, Hour, Owed], UsageRecord]:
    """Seals as the agent does; due at once."""

    def record(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
        request = seal_request(workload, "product", dimension.name, dimension.decimals, hour, owed, now)
        return UsageRecord(
            hour=hour,
            dimension=dimension.name,
            state=State.SEALED,
            quantity=owed.quantity,
            retry_at=now,
            request=request,
        )

    return record


@dataclass
class Story:
    """One workload's ledger, restarted and sealed in few words."""

    directory: Path
    owner: Owner = OWNER
    dimensions: Sequence[Dimension] = DIMENSIONS
    now: datetime = NOON
    opened: list[Ledger] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return ledger_path(self.directory, self.owner.workload)

    def open(self, **more: object) -> Ledger:
        ledger = Ledger.open(self.directory, self.owner, self.dimensions, self.now, **more)  # type: ignore[arg-type]
        self.opened.append(ledger)
        return ledger

    def push(self, ledger: Ledger, *events: UsageEvent) -> PushResult:
        return ledger.push(events, self.now)

    def seal(self, ledger: Ledger, hours_later: int = 1) -> tuple[UsageRecord, ...]:
        hour = Hour.at(self.now)
        self.now += timedelta(hours=hours_later)
        return ledger.seal(hour, self.now, make(self.now, self.owner.workload))

    def close(self) -> None:
        for ledger in self.opened:
            ledger.close()


def balanced(ledger: Ledger) -> bool:
    return all(one.balanced for one in ledger.balances())


def accepted(ledger: Ledger, dimension: str = "requests") -> Decimal:
    (one,) = (one for one in ledger.balances() if one.dimension == dimension)
    return one.accepted


def audit_copy(ledger: Ledger) -> list[str]:
    """Return the lines of every page."""
    lines, after = ledger.export_page("")
    while after:
        more, after = ledger.export_page(after)
        lines += more
    return lines


def held_back(ledger: Ledger) -> threading.Event:
    """Keep the writer busy until the event is set, so that what is pushed meanwhile waits together."""
    begun, go = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        begun.set()
        go.wait(10)

    threading.Thread(target=ledger._writer.run, args=(hold,), daemon=True).start()
    assert begun.wait(10)
    return go


def raw_connection(path: Path) -> sqlite3.Connection:
    """A closed file, read from outside."""
    return sqlite3.connect(path)


def is_intact(path: Path) -> bool:
    connection = raw_connection(path)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        connection.close()


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A real process that runs `code`, with what this module offers, and its arguments in `argv`."""
    begin = "import sys; argv = sys.argv[1:]\nfrom tests.integration.ledger.support import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def settle(ledger: Ledger, record: UsageRecord, story: Story) -> UsageRecord:
    ledger.mark_sending([record])
    settled = replace(record, state=State.SETTLED, record_id=f"id-{record.hour.number}", attempts=1)
    return ledger.save(settled, story.now, outcome="settled")


def rolled(ledger: Ledger, record: UsageRecord, story: Story) -> UsageRecord:
    return ledger.save(replace(record, state=State.EXPIRED), story.now, outcome="too_late", roll_forward=True)
