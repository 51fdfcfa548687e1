"""Overdue is what nothing could be reported of, for long enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sidecar.metering.hours import Hour
from sidecar.metering.overdue import Reporting
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State

TWO_HOURS = timedelta(hours=2)
ELEVEN = datetime(2026, 1, 2, 11, tzinfo=UTC)


def record(start: datetime, state: State = State.SEALED) -> UsageRecord:
    return UsageRecord(hour=Hour(start), dimension="requests", state=state, quantity=Decimal(1), request=None)


TEN = record(ELEVEN - timedelta(hours=1))


def test_it_counts_from_the_end_of_the_oldest_hour_that_waits() -> None:
    state = Reporting().after_pass([TEN], 0, None, ELEVEN + timedelta(minutes=10))
    assert state.overdue_since(ELEVEN + TWO_HOURS - timedelta(seconds=1), TWO_HOURS) is None
    assert state.overdue_since(ELEVEN + TWO_HOURS, TWO_HOURS) == ELEVEN


def test_it_counts_from_the_last_yes_where_that_was_later() -> None:
    yes = ELEVEN + timedelta(minutes=40)
    state = Reporting().after_pass([TEN], 0, yes, ELEVEN + timedelta(hours=1))
    assert state.overdue_since(ELEVEN + TWO_HOURS, TWO_HOURS) is None
    assert state.overdue_since(yes + TWO_HOURS, TWO_HOURS) == yes


def test_what_waits_for_a_person_is_not_overdue() -> None:
    waiting = [record(ELEVEN, State.DISPUTED), record(ELEVEN, State.REJECTED)]
    assert Reporting().after_pass(waiting, 0, None, ELEVEN + timedelta(hours=9)) == Reporting()


def test_a_record_that_was_rolled_forward_does_not_set_the_count_back() -> None:
    state = Reporting().after_pass([TEN], 0, None, ELEVEN).after_pass([], 1, None, ELEVEN + timedelta(hours=5))
    later = state.after_pass([record(ELEVEN + timedelta(hours=5))], 0, None, ELEVEN + timedelta(hours=6))
    assert later.overdue_since(ELEVEN + timedelta(hours=6), TWO_HOURS) == ELEVEN


def test_a_yes_ends_it_and_so_does_having_nothing_left() -> None:
    state = Reporting().after_pass([TEN], 0, None, ELEVEN)
    assert state.settled() == Reporting()
    assert state.after_pass([], 0, None, ELEVEN + timedelta(hours=3)) == Reporting()


def test_usage_that_cannot_become_due_is_overdue_from_the_first_such_pass() -> None:
    blocked = Reporting().blocked(ELEVEN).blocked(ELEVEN + timedelta(hours=1))
    assert blocked.overdue_since(ELEVEN + TWO_HOURS - timedelta(seconds=1), TWO_HOURS) is None
    assert blocked.overdue_since(ELEVEN + TWO_HOURS, TWO_HOURS) == ELEVEN
    assert blocked.unblocked() == blocked.settled() == Reporting()


def test_what_was_due_before_keeps_its_own_instant() -> None:
    blocked = Reporting().after_pass([TEN], 0, None, ELEVEN).blocked(ELEVEN + timedelta(hours=1))
    assert blocked.overdue_since(ELEVEN + TWO_HOURS, TWO_HOURS) == ELEVEN
    assert blocked.unblocked() == Reporting(failing_since=ELEVEN)


def test_what_a_clock_jumped_over_does_not_count() -> None:
    jump = timedelta(days=9)
    shifted = Reporting().blocked(ELEVEN).shifted(jump).blocked(ELEVEN + jump)
    assert shifted == Reporting(blocked_since=ELEVEN + jump)
    assert Reporting(failing_since=ELEVEN).shifted(jump) == Reporting(failing_since=ELEVEN)


def test_a_clock_that_was_set_back_puts_nothing_into_the_future() -> None:
    assert Reporting().blocked(ELEVEN + TWO_HOURS).blocked(ELEVEN) == Reporting(blocked_since=ELEVEN)
