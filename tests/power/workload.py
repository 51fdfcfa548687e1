"""Write a ledger and the kept files in one recorded process, and mark what was acknowledged.

Run by `run`, with its orders as JSON. It ends with SIGKILL, or closes the ledger first.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sidecar.ledger import kept_file
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field, replace
from tests.integration.ledger.support import make
from tests.power import usage

CLIENTS = 3
FAULTS = ("none", "EIO", "ENOSPC", "EROFS", "short")
SHIM = ctypes.CDLL(None)


def mark(**said: Any) -> None:
    """Put a mark into the trace, at this place of it."""
    text = json.dumps(said).encode()
    SHIM.power_mark(text, len(text))


@dataclass
class Orders:
    """What one life does."""

    directory: str
    life: int
    seed: str
    pushes: int
    """Of each client."""
    kept_from: dict[str, int]
    """By file, its next version."""
    fault: str = "none"
    each: int = 0
    checkpoint_pages: int = 1000
    ends: str = "kill"
    owed: dict[str, str] = field(default_factory=dict)
    """By dimension, what earlier lives pushed."""
    repeats: list[str] = field(default_factory=list)
    """Pushes that earlier lives acknowledged, for a successor to push again."""


class Life:
    """One process between its start and its end."""

    owner = usage.OWNER

    def __init__(self, orders: Orders) -> None:
        self.orders, self.directory = orders, Path(orders.directory)
        self.chance = random.Random(orders.seed)
        self.now = usage.begin_of(orders.life)
        self.ledger = self._opened()
        self._unanswered: list[str] = []
        self._midway = threading.Event()

    def run(self) -> None:
        """Push and keep under faults, seal in the midst of it, then without faults send again what was refused."""
        if self.orders.checkpoint_pages != 1000:
            pragma = f"PRAGMA wal_autocheckpoint = {self.orders.checkpoint_pages}"
            self.ledger._writer.run(lambda connection: connection.execute(pragma).fetchall())
        self._fail(self.orders.fault)
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        self._together([*threads, threading.Thread(target=self._keep), threading.Thread(target=self._settle_hour)])
        self._end()

    def _end(self) -> None:
        """Without faults send again what was refused, and end."""
        self._fail("none")
        for push in self._unanswered:
            if not self._push(push, self.now):
                mark(wrong=f"push {push} is refused on a disk that works again: {self.ledger.fault}")
        if self.ledger.set_aside:
            mark(wrong=f"the ledger was set aside: {self.ledger.set_aside.name}")
        if self.orders.ends == "close":
            self.ledger.close()
        self._die()

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _together(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _fail(self, fault: str) -> None:
        SHIM.power_fail(FAULTS.index(fault), self.orders.each)

    def _opened(self) -> Ledger:
        """Open the ledger: while the disk fails that may be refused, with a reason."""
        for fault in (self.orders.fault, "none"):
            self._fail(fault)
            try:
                return Ledger.open(self.directory, self.owner, usage.DIMENSIONS, self.now)
            except LedgerError as exc:
                if fault == "none":
                    raise
                mark(refused=exc.reason)
        raise AssertionError

    def _client(self, client: int) -> None:
        for number in range(self.orders.pushes):
            if number == self.orders.pushes // 2:
                self._midway.set()
            self._push_twice(f"{self.orders.seed}-{client}-{number}")

    def _push_twice(self, push: str) -> None:
        mark(begun=push)
        if not any(self._push(push, self.now) for _ in range(2)):
            self._unanswered.append(push)

    def _push(self, push: str, now: datetime) -> bool:
        done = isinstance(self.ledger.push(usage.events_of(push), now), PushAccepted)
        if done:
            mark(acknowledged=push)
        else:
            fault = self.ledger.fault
            mark(refused=fault.reason if fault else "unknown")
        return done

    def _keep(self) -> None:
        paths = usage.kept_paths(self.directory)
        for number in range(self.orders.pushes // 2):
            for name, path in paths.items():
                version = self.orders.kept_from[name] + number
                mark(keeping=[name, version])
                if self._replace(path, usage.kept_text(name, version)):
                    mark(kept=[name, version])

    def _replace(self, path: Path, text: str | None) -> bool:
        try:
            kept_file.remove(path) if text is None else kept_file.replace(path, text)
        except OSError as exc:
            mark(refused=exc.strerror)
            return False
        return True

    def _settle_hour(self) -> None:
        """Seal the hour, and settle some of its records, as the billing loop does."""
        hour, now = Hour.at(self.now), self.now + usage.LIFE / 2
        self._midway.wait()
        sealed = self._done(lambda: self.ledger.seal(hour, now, make(now, usage.OWNER.workload)))
        for record in sealed or ():
            mark(sealed=[record.hour.number, record.dimension, digest(record)])
            if self.chance.random() < 0.7:
                self._settle(record, now)

    def _settle(self, record: UsageRecord, now: datetime) -> None:
        settled = replace(record, state=State.SETTLED, record_id=f"id-{record.hour.number}", attempts=1)
        if not self._done(lambda: self.ledger.mark_sending([record]) or True):
            return
        if self._done(lambda: self.ledger.save(settled, now, outcome="settled")):
            mark(settled=[record.hour.number, record.dimension, settled.record_id])

    def _done(self, what: Callable[[], Any]) -> Any:
        """Do it, or mark why not."""
        for _ in range(2):
            try:
                return what()
            except LedgerError as exc:
                mark(refused=exc.reason)
        return None


def digest(record: UsageRecord) -> str:
    """Return what of a record never changes."""
    assert record.request
    return f"{record.quantity.normalize():f} {record.request.client_token}"


if __name__ == "__main__":
    Life(Orders(**json.loads(sys.argv[1]))).run()
