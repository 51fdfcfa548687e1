"""Tell one story: a workload's sidecar is killed again and again under concurrent pushes, and the sums are compared.

Invariants:
- What is done comes from one seed; when a signal meets the process is the machine's matter.
- Clients send each event, with its id, until it is acknowledged: what is owed is known to the unit.
- Everything that can happen has happened once before chance chooses among them.
- AWS's clock stands while a sidecar starts, so that no slow start makes an hour too old; all hours have settled before
  the next end of an hour is passed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from sidecar.quick_dataclasses import dataclass, field
from tests.acceptance.billing.metered import (
    SLOW,
    Metered,
    Product,
    billed,
    marketplace,
    none_too_early,
    refused_as_other,
    waiting,
)
from tests.acceptance.billing.small_disk import fill, mounted
from tests.acceptance.support import eventually

HOUR = timedelta(hours=1)
FAULTS = ("", "", "drop_after", "drop_after", "drop_before", "slow", "InternalServiceErrorException")
HAPPENINGS_AN_HOUR = 8
STOPS_MAX = 3
"""Hours for which it may be stopped before all is settled: AWS takes no record after six."""
WEIGHTS = {"worker": 24, "everything": 4, "sender": 3, "master": 1, "told": 1, "stopped": 1, "full": 1}
"""How often each thing happens, of their sum."""


@dataclass
class Outcome:
    """What a story came to."""

    happened: Counter[str] = field(default_factory=Counter)
    hours: int = 0
    """Hours that AWS billed."""
    events: int = 0
    """Events that were acknowledged."""
    owed: str = ""
    billed: str = ""
    wrong: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What cannot happen on this machine, and why."""
    flushed_again: int = 0
    """How often it was started and told to end again, since the last flush did not get everything out."""

    @property
    def kills(self) -> int:
        """Return how often SIGKILL met a process."""
        return sum(self.happened[name] for name in ("worker", "everything", "sender", "master", "full"))


class Story:
    """One workload on one volume, its clients, its AWS, and what happens to it."""

    def __init__(self, seed: int, keys: SigningKeys, directory: Path) -> None:
        self.outcome = Outcome()
        self._chance, self._seed, self._keys = random.Random(seed), seed, keys
        self._directory = directory
        self._product = Product()
        self._disk: Path | None = None
        self._weights = dict(WEIGHTS)
        self._due = self._chance.sample(list(WEIGHTS), len(WEIGHTS))
        """What has not happened yet."""
        self._stops = 0

    def run(self, kills: int, over: Callable[[], bool] = lambda: False) -> Outcome:
        """Have everything happen, kill this many times at least, settle everything, and compare.

        Where it is `over` earlier, only the present hour is gone through to its end.
        """
        with ExitStack() as stack:
            self._disk = stack.enter_context(mounted(self._directory / "volume", "24m"))
            if self._disk is None:
                self._leave_out("full", "a small file system cannot be mounted here")
            self._aws = stack.enter_context(marketplace(self._keys))
            self._sidecar = Metered(self._aws, self._directory, SIDECAR_STATE_DIR=str(self._directory / "volume"))
            self._sidecar.start().ready()
            with self._product.busy(lambda: self._sidecar, self._seed):
                while (self.outcome.kills < kills or self._due) and not over():
                    self._hour()
            self._settle()
            self._compare(self._aws)
        return self.outcome

    def _leave_out(self, what: str, reason: str) -> None:
        del self._weights[what]
        self._due.remove(what)
        self.outcome.left_out.append(f"{what}: {reason}")

    def _hour(self) -> None:
        """Pass the end of an hour in about a second, with kills before, in and after it."""
        self._aws.clear_faults()
        if fault := self._chance.choice(FAULTS):
            self._aws.fault("MeterUsage", fault, times=1, seconds=0.3 if fault == "slow" else None)
        end = hour_of(self._aws.clock.now()) + HOUR
        self._aws.set_clock(now=end - timedelta(seconds=20), speed=900)
        for number in range(HAPPENINGS_AN_HOUR):
            time.sleep(self._chance.uniform(0.02, 0.6))  # the instant of the signal is the subject here
            self._happen(self._next(number))
            self._aws.set_clock(speed=self._chance.choice([0, 60]))
        self._aws.clear_faults()
        self._aws.set_clock(speed=0)
        self._running()
        now = self._aws.clock.now()
        self._aws.set_clock(now=max(now, hour_of(now) + timedelta(minutes=2)), speed=20)
        self._sidecar.until_settled()
        self._aws.set_clock(speed=0)
        self._stops = 0

    def _next(self, number: int) -> str:
        """Return what happens next: every other time one that is due, since it may not be possible just now."""
        if self._due and number % 2 == 0:
            return self._due[number // 2 % len(self._due)]
        return self._chance.choices(list(self._weights), list(self._weights.values()))[0]

    def _happen(self, what: str) -> None:
        with suppress(ValueError, OSError):  # the process that it is for is not there just now
            getattr(self, f"_{what}")()
            self.outcome.happened[what] += 1
            self._due = [one for one in self._due if one != what]
        if what == "worker" and self._chance.random() < 0.5:
            return  # the next one may meet it while it starts
        self._running()

    def _running(self) -> None:
        """Start it again where it has ended, and wait until it takes usage."""

        def ready() -> bool:
            assert self._sidecar.process
            if self._sidecar.process.poll() is not None:
                self._sidecar.swept()
                self._sidecar = self._sidecar.again().start()
            return self._sidecar.probe()[0] == 200 and bool(self._sidecar.metering()["ledger"]["path"])

        eventually(ready, 2 * SLOW)

    def _worker(self) -> None:
        os.kill(self._sidecar.worker(), signal.SIGKILL)

    def _sender(self) -> None:
        os.kill(self._sidecar.sender(), signal.SIGKILL)

    def _everything(self) -> None:
        self._sidecar.killed()

    def _master(self) -> None:
        """Kill the supervisor; its worker notices, and ends."""
        assert self._sidecar.process
        self._sidecar.process.kill()
        self._sidecar.process.wait()
        eventually(lambda: not self._sidecar.processes(), SLOW)

    def _told(self) -> None:
        """Send SIGTERM many times, from its start to its end."""
        assert self._sidecar.process
        while self._sidecar.process.poll() is None:
            self._sidecar.told()
            time.sleep(self._chance.uniform(0.001, 0.05))  # the instants of the signals are the subject here

    def _stopped(self) -> None:
        """Stop all of it for an hour of AWS's clock."""
        if self._stops == STOPS_MAX:
            raise ValueError("AWS would not take what is that old")
        assert self._sidecar.process
        os.killpg(self._sidecar.process.pid, signal.SIGSTOP)
        eventually(lambda: all(map(stopped, self._sidecar.processes())), SLOW)
        self._aws.set_clock(now=self._aws.clock.now() + HOUR, speed=0)
        os.killpg(self._sidecar.process.pid, signal.SIGCONT)
        self._stops += 1

    def _full(self) -> None:
        """Kill it on a full disk, and make room when it runs again."""
        assert self._disk
        ballast = fill(self._disk)
        time.sleep(self._chance.uniform(0.05, 0.5))  # the instant of the kill is the subject here
        self._sidecar.killed()
        self._sidecar = self._sidecar.again().start()
        eventually(lambda: self._sidecar.probe(), SLOW)
        ballast.unlink()

    def _settle(self) -> None:
        """Have everything billed: on a busy machine one last flush may not be enough, so it ends up to three times."""
        self._aws.clear_faults()
        self._product.send_again(self._sidecar)
        for _ in range(3):
            self._aws.set_clock(speed=1)
            self._sidecar.told()
            self._sidecar.ended(SLOW)
            if waiting(self._sidecar) == 0:
                return
            self.outcome.flushed_again += 1
            self._running()
            self._aws.set_clock(now=self._aws.clock.now() + HOUR, speed=20)
            self._sidecar.until_settled()

    def _compare(self, aws: Emulator) -> None:
        """Compare the sums of clients, ledger and AWS."""
        out, owed, rest = self.outcome, self._product.owed, waiting(self._sidecar)
        out.events, out.hours = len(self._product.acknowledged), len({one.slot.hour for one in aws.usage_records()})
        out.owed, out.billed = str(owed), str(billed(aws))
        out.wrong += differences(owed, billed(aws), rest, refused_as_other(aws))
        if not none_too_early(aws):
            out.wrong.append("a record is stamped outside its hour, or later than AWS took it")


def hour_of(now: datetime) -> datetime:
    """Return when the hour of an instant begins."""
    return now.replace(minute=0, second=0, microsecond=0)


def stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal, or has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZX"
    except OSError:
        return True


def differences(owed: Decimal, paid: Decimal, rest: Decimal, refused: list[str]) -> list[str]:
    """Return what does not agree: what clients were acknowledged, what AWS billed, what the ledger still holds."""
    found = []
    if paid != owed or rest:
        found.append(f"AWS billed {paid}, {rest} waits, and {owed} was acknowledged")
    if refused:
        found.append(f"a repeat was not the same as what was sent first: {refused}")
    return found
