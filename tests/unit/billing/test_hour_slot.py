"""A workload that was throttled sends when AWS had room; one that was not, when it always did."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.billing.hour_slot import KEPT, LATEST, HourSlot
from sidecar.metering import schedule
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State

HOUR = Hour.numbered(498_658)
POD = "pod-1"
THROTTLED = "ThrottlingException"


def record(hour: Hour, last_error: str | None) -> UsageRecord:
    return UsageRecord(hour=hour, dimension="a", state=State.SEALED, quantity=Decimal(1), last_error=last_error)


def after_hour(slot: HourSlot, hour: Hour) -> timedelta:
    """How long after an hour its record is sent, where it is sealed in time."""
    return slot.send_at(hour, hour.end, POD) - hour.end


def planned(hour: Hour) -> timedelta:
    return schedule.send_at(hour, hour.end, POD) - hour.end


@pytest.fixture
def throttled() -> HourSlot:
    """A workload whose record AWS took 20 minutes after the hour."""
    slot = HourSlot()
    slot.settled(record(HOUR, THROTTLED), HOUR.end + timedelta(minutes=20))
    return slot


def test_a_new_workload_sends_as_scheduled() -> None:
    assert after_hour(HourSlot(), HOUR) == planned(HOUR)


@pytest.mark.parametrize("last_error", [None, "503", "ReadTimeoutError"])
def test_a_workload_that_was_not_throttled_sends_as_scheduled(last_error: str | None) -> None:
    slot = HourSlot()
    slot.settled(record(HOUR, last_error), HOUR.end + timedelta(minutes=20))
    assert after_hour(slot, HOUR.next) == planned(HOUR.next)


def test_a_throttled_workload_sends_the_next_hour_when_aws_had_room(throttled: HourSlot) -> None:
    assert after_hour(throttled, HOUR.next) == timedelta(minutes=20)


def test_the_moment_comes_back_to_the_schedule(throttled: HourSlot) -> None:
    hour = HOUR.next
    throttled.settled(record(hour, None), hour.end + timedelta(minutes=20))
    assert after_hour(throttled, hour.next) == timedelta(minutes=20) * KEPT
    for _ in range(60):
        hour = hour.next
        throttled.settled(record(hour, None), hour.end + timedelta(minutes=20))
    assert after_hour(throttled, hour.next) == planned(hour.next)


def test_an_hour_counts_once_however_many_records_it_has(throttled: HourSlot) -> None:
    for _ in range(3):
        throttled.settled(record(HOUR.next, None), HOUR.next.end)
    assert after_hour(throttled, HOUR.next.next) == timedelta(minutes=20) * KEPT


def test_what_is_taken_after_an_outage_moves_nothing(throttled: HourSlot) -> None:
    throttled.settled(record(HOUR.next, THROTTLED), HOUR.next.end + LATEST + timedelta(seconds=1))
    throttled.settled(record(HOUR, THROTTLED), HOUR.end + timedelta(minutes=40))
    assert after_hour(throttled, HOUR.next.next) == timedelta(minutes=20) * KEPT


def test_what_is_sealed_late_or_early_is_sent_at_once(throttled: HourSlot) -> None:
    for sealed_at in (HOUR.next.start + timedelta(minutes=5), HOUR.next.end + timedelta(hours=1)):
        assert throttled.send_at(HOUR.next, sealed_at, POD) == sealed_at
