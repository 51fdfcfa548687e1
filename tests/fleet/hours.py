"""Pods that meter: each seals some dimensions an hour, and sends them by MeterUsage.

Invariants:
- When a record is sent first is `sidecar.billing.hour_slot`'s and `sidecar.metering.schedule`'s decision, when it is
  sent again is `sidecar.metering.decide`'s.
- As in the sidecar, a pod sends what is due oldest first, and the first record that is throttled ends the batch.
- A call takes no time here.
"""

from __future__ import annotations

import heapq
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.billing.hour_slot import HourSlot
from sidecar.billing.pause import PASS_SECONDS_MIN
from sidecar.metering.decide import Decision, Policy, decide, decide_if_late
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Refused, Settled
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import oldest_first, seal_at
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field
from tests.fleet.quota import Answer, Quota

FIRST: Final = Hour.numbered(490_000)
OUTCOMES: Final[dict[Answer, Outcome]] = {
    Answer.TAKEN: Settled(record_id="record"),
    Answer.THROTTLED: Refused(code="ThrottlingException"),
    Answer.FAILED: Refused(code="EndpointConnectionError", sent=False),
}


@dataclass
class HourResult:
    """What became of one hour of the fleet."""

    taken: list[float] = field(default_factory=list)
    """Seconds from the hour's end to when AWS took each record, in order."""
    calls: int = 0
    late: int = 0
    """Records that were not taken within the six hours."""
    most_calls: int = 0
    """Of one record."""


class _Pod:
    def __init__(self, name: str, slots: bool, alone: bool) -> None:
        self.name, self.slot, self.learns = name, HourSlot(), slots
        self.policy = Policy(workload=name, alone=alone)
        self.records: list[UsageRecord] = []

    def seal(self, hour: Hour, dimensions: int) -> None:
        at = seal_at(hour, self.name)
        self.records += [
            UsageRecord(
                hour=hour,
                dimension=f"d{number}",
                state=State.SEALED,
                quantity=Decimal(1),
                retry_at=self.slot.send_at(hour, at, self.name),
            )
            for number in range(dimensions)
        ]

    def due(self, now: datetime) -> list[UsageRecord]:
        return oldest_first(record for record in self.records if record.retry_at and record.retry_at <= now)

    def next_at(self, now: datetime) -> datetime | None:
        times = [record.retry_at for record in self.records if record.retry_at]
        return max(min(times), now + timedelta(seconds=PASS_SECONDS_MIN)) if times else None


class MeteringFleet:
    """A fleet that meters for some hours. `learns`: pods remember when AWS had room."""

    def __init__(
        self, pods: int, quota: Quota, seed: int, *, dimensions: int = 1, learns: bool = True, alone: bool = False
    ) -> None:
        """`alone`: each retries as if it were the only one, for comparison."""
        self._pods = [_Pod(f"pod-{seed}-{number}", learns, alone) for number in range(pods)]
        self._quota, self._dimensions = quota, dimensions
        self._chance = random.Random(seed).random
        self._queue: list[tuple[datetime, int]] = []
        self.hours: dict[Hour, HourResult] = {}

    def run(self, hours: int) -> list[HourResult]:
        """Return what became of this many hours, and of everything that was left of them."""
        for number in range(hours):
            hour = Hour(FIRST.start + number * timedelta(hours=1))
            self._run_until(hour.end)
            self.hours[hour] = HourResult()
            self._seal(hour)
        self._run_until(None)
        return list(self.hours.values())

    def _seal(self, hour: Hour) -> None:
        waiting = {pod for _, pod in self._queue}
        for number, pod in enumerate(self._pods):
            pod.seal(hour, self._dimensions)
            if number not in waiting:
                self._plan(number, hour.end)

    def _plan(self, number: int, now: datetime) -> None:
        at = self._pods[number].next_at(now)
        if at is not None:
            heapq.heappush(self._queue, (at, number))

    def _run_until(self, end: datetime | None) -> None:
        while self._queue and (end is None or self._queue[0][0] < end):
            now, number = heapq.heappop(self._queue)
            self._send(self._pods[number], now)
            self._plan(number, now)

    def _send(self, pod: _Pod, now: datetime) -> None:
        stopped: Answer | None = None
        for record in pod.due(now):
            expired = decide_if_late(record, now)
            answer = stopped or (Answer.FAILED if expired else self._call(record, now))
            if answer is not Answer.TAKEN:
                stopped = answer
            decision = expired or decide(record, OUTCOMES[answer], now, pod.policy, self._chance())
            self._apply(pod, record, decision, now)

    def _call(self, record: UsageRecord, now: datetime) -> Answer:
        answer = self._quota.call((now - FIRST.end).total_seconds())
        if answer is not Answer.FAILED:
            self.hours[record.hour].calls += 1
        return answer

    def _apply(self, pod: _Pod, before: UsageRecord, decision: Decision, now: datetime) -> None:
        found = self.hours[before.hour]
        pod.records.remove(before)
        after = decision.record
        found.most_calls = max(found.most_calls, after.attempts)
        if after.state is State.SETTLED:
            found.taken.append((now - before.hour.end).total_seconds())
            if pod.learns:
                pod.slot.settled(before, now)
        elif decision.roll_forward or after.retry_at is None:
            found.late += 1
        else:
            pod.records.append(after)
