"""An hour is sealed within a minute, sent within ten, and too late before AWS says so."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.schedule import (
    RETRY_SECONDS_MAX,
    SLOW_RETRY_SECONDS_MAX,
    THROTTLED_SECONDS_MAX,
    backoff,
    deadline,
    next_due,
    oldest_first,
    seal_at,
    seal_due,
    send_at,
    throttled_backoff,
    too_early,
    too_late,
)
from sidecar.metering.sealed_request import seal_request
from sidecar.metering.states import State

HOUR = Hour.numbered(498_658)
PASS = timedelta(seconds=30)
MICROSECOND = timedelta(microseconds=1)


def record(**fields: object) -> UsageRecord:
    given_: dict[str, object] = {
        "hour": HOUR,
        "dimension": "a",
        "state": State.SEALED,
        "quantity": Decimal(1),
        **fields,
    }
    return UsageRecord(**given_)  # type: ignore[arg-type]


@given(st.text())
def test_an_hour_is_sealed_within_a_minute_of_its_end_and_never_before(workload: str) -> None:
    assert HOUR.end <= seal_at(HOUR, workload)
    assert seal_at(HOUR, workload) + PASS < HOUR.end + timedelta(minutes=1)
    assert seal_due(HOUR, seal_at(HOUR, workload), workload)
    assert not seal_due(HOUR, HOUR.end - MICROSECOND, workload)


@given(st.text(), st.integers(0, 59))
def test_a_record_is_first_sent_within_ten_minutes_of_the_hour(workload: str, sealed_seconds: int) -> None:
    sealed_at = HOUR.end + timedelta(seconds=sealed_seconds)
    sent = send_at(HOUR, sealed_at, workload)
    assert sealed_at <= sent <= HOUR.end + timedelta(minutes=8)


def test_pods_spread_and_one_pod_keeps_its_place() -> None:
    sent = {send_at(HOUR, HOUR.end, f"pod-{at}") for at in range(200)}
    assert len(sent) == 200
    assert max(sent) - min(sent) > timedelta(minutes=6)
    assert send_at(HOUR, HOUR.end, "pod-1") == send_at(HOUR, HOUR.end, "pod-1")


@pytest.mark.parametrize("sealed_at", [HOUR.start + timedelta(minutes=20), HOUR.end + timedelta(hours=2)])
def test_what_is_sealed_early_or_late_is_sent_at_once(sealed_at: object) -> None:
    assert send_at(HOUR, sealed_at, "pod-1") == sealed_at  # type: ignore[arg-type]


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_pause_is_never_nothing_and_never_beyond_its_limit(attempt: int, chance: float, slow: bool) -> None:
    assert (
        timedelta(0)
        < backoff(attempt, chance, slow)
        <= timedelta(seconds=SLOW_RETRY_SECONDS_MAX if slow else RETRY_SECONDS_MAX)
    )


def test_pauses_double_with_full_jitter() -> None:
    assert [backoff(at, 0.5).total_seconds() for at in range(1, 6)] == [1, 2, 4, 8, 16]
    assert backoff(6, 0.1) < backoff(6, 0.9)


def test_what_aws_asks_for_is_a_floor() -> None:
    assert backoff(1, 0.0, floor_seconds=45) == timedelta(seconds=45)
    assert backoff(9, 0.99, floor_seconds=1) > timedelta(seconds=45)


def test_a_throttled_record_waits_a_share_of_the_time_since_its_hour() -> None:
    now = HOUR.end + timedelta(minutes=10)
    assert throttled_backoff(HOUR, now, 0.0) == timedelta(minutes=1)
    assert throttled_backoff(HOUR, now, 0.5) == timedelta(minutes=2.5)


def test_a_throttled_record_is_sent_again_before_it_is_too_late() -> None:
    now = deadline(HOUR) - timedelta(minutes=4)
    assert throttled_backoff(HOUR, now, 0.999) < timedelta(minutes=2)


@given(st.integers(-3600, 7 * 3600), st.floats(0, 1, exclude_max=True))
def test_a_throttled_record_waits_a_second_to_ten_minutes(seconds: int, chance: float) -> None:
    found = throttled_backoff(HOUR, HOUR.end + timedelta(seconds=seconds), chance)
    assert timedelta(seconds=1) <= found <= timedelta(seconds=THROTTLED_SECONDS_MAX)


def test_a_throttled_record_waits_as_long_as_aws_asks() -> None:
    assert throttled_backoff(HOUR, HOUR.end, 0.0, floor_seconds=45) == timedelta(seconds=45)


def test_a_record_is_given_up_a_quarter_of_an_hour_before_aws_does() -> None:
    assert deadline(HOUR) == HOUR.start + timedelta(hours=5, minutes=45)
    assert too_late(HOUR, deadline(HOUR))
    assert not too_late(HOUR, deadline(HOUR) - MICROSECOND)


def test_the_oldest_goes_first() -> None:
    records = [record(hour=HOUR.next), record(dimension="b"), record()]
    assert oldest_first(records) == records[::-1]


def test_a_record_is_not_sent_before_the_second_it_is_stamped_with() -> None:
    owed = Owed(quantity=Decimal(1), carry=Decimal(0), allocations=(), merged=0)
    request = seal_request("w", "p", "a", 0, HOUR, owed, HOUR.end)
    assert too_early(record(request=request), HOUR.last_second - MICROSECOND)
    assert not too_early(record(request=request), HOUR.last_second)
    assert not too_early(record(), HOUR.start), "an open hour has no timestamp yet"


def test_a_pass_is_due_with_the_next_retry_or_seal() -> None:
    sealing = seal_at(HOUR, "w")
    assert next_due([], HOUR.start, "w") == next_due([record(retry_at=None)], HOUR.start, "w") == sealing
    retry = HOUR.start + timedelta(minutes=1)
    assert next_due([record(retry_at=HOUR.end), record(retry_at=retry)], HOUR.start, "w") == retry
