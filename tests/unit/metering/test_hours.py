"""An hour is UTC, half-open and named by its start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering import hours, schedule
from sidecar.metering.hours import ONE_HOUR, Hour

TEN = Hour(datetime(2026, 11, 20, 10, tzinfo=UTC))


def test_an_instant_on_the_boundary_belongs_to_the_hour_that_begins() -> None:
    assert Hour.at(TEN.start) == TEN
    assert Hour.at(TEN.end) == TEN.next
    assert Hour.at(TEN.end - timedelta(microseconds=1)) == TEN


def test_an_hour_is_closed_from_its_end_on_and_not_before() -> None:
    assert TEN.closed(TEN.end)
    assert not TEN.closed(TEN.end - timedelta(microseconds=1))


def test_the_last_second_lies_in_the_hour() -> None:
    assert Hour.at(TEN.last_second) == TEN
    assert TEN.last_second == datetime(2026, 11, 20, 10, 59, 59, tzinfo=UTC)


def test_hours_are_ordered_and_have_neighbours() -> None:
    assert TEN.previous < TEN < TEN.next
    assert TEN.next.previous == TEN


@pytest.mark.parametrize(
    "start",
    [
        datetime(2026, 11, 20, 10, 1, tzinfo=UTC),
        datetime(2026, 11, 20, 10, tzinfo=timezone(ONE_HOUR)),
        datetime(2026, 11, 20, 10),
    ],
)
def test_nothing_but_a_whole_hour_in_utc_is_one(start: datetime) -> None:
    with pytest.raises(ValueError):
        Hour(start)


def test_an_instant_without_an_offset_has_no_hour() -> None:
    with pytest.raises(ValueError):
        Hour.at(datetime(2026, 11, 20, 10))


def test_daylight_saving_neither_repeats_nor_drops_an_hour() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=0)
    second = datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1)
    assert Hour.at(second) == Hour.at(first).next
    before, after = datetime(2026, 3, 29, 1, 30, tzinfo=berlin), datetime(2026, 3, 29, 3, 30, tzinfo=berlin)
    assert Hour.at(after) == Hour.at(before).next


def test_an_hour_of_the_clock_has_the_hours_number() -> None:
    assert hours.clock_hour(TEN.start) == hours.clock_hour(TEN.last_second) == TEN.number
    assert hours.next_clock_hour(TEN.start) == hours.next_clock_hour(TEN.last_second) == TEN.end


def test_an_hour_prints_its_start() -> None:
    assert str(TEN) == "2026-11-20T10:00Z"


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_an_hour_survives_its_number(instant: datetime) -> None:
    hour = Hour.at(instant)
    assert Hour.numbered(hour.number) == hour
    assert hour.start <= instant < hour.end
    assert hour.next.number == hour.number + 1


class TestShortPeriods:
    """What takes an hour's place where AWS takes many records an hour."""

    @pytest.fixture(autouse=True)
    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("_length", "_micros"):
            monkeypatch.setattr(hours, name, getattr(hours, name))
        hours.use_short_periods()

    def test_an_hour_is_ten_seconds_then(self) -> None:
        found = Hour.at(datetime(2026, 11, 20, 10, 0, 19, 999_999, tzinfo=UTC))
        assert (found.start.second, found.end - found.start) == (10, timedelta(seconds=10))
        assert (str(found), found.last_second.second) == ("2026-11-20T10:00:10Z", 19)
        assert Hour.numbered(found.number) == found == found.next.previous
        with pytest.raises(ValueError, match="not the start"):
            Hour(datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC))

    def test_an_hour_of_the_clock_stays_an_hour(self) -> None:
        start, last = TEN.start, TEN.start + timedelta(minutes=59, seconds=59)
        assert hours.clock_hour(start) == hours.clock_hour(last) == hours.clock_hour(start + timedelta(hours=1)) - 1
        assert hours.next_clock_hour(start) == hours.next_clock_hour(last) == start + timedelta(hours=1)

    def test_it_is_sealed_and_sent_at_its_end(self) -> None:
        found = Hour.at(TEN.start)
        assert schedule.seal_at(found, "any") == schedule.send_at(found, found.end, "any") == found.end

    def test_numbers_of_hours_are_told_from_those_of_short_periods(self) -> None:
        number = Hour.at(TEN.start).number
        assert hours.counts_as_here(number)
        assert not hours.counts_as_here(number // 360)
        assert hours.counts_otherwise(number // 360)
        assert not hours.counts_otherwise(number)


def test_numbers_of_short_periods_are_none_of_hours() -> None:
    assert hours.counts_as_here(TEN.number)
    assert not hours.counts_as_here(TEN.number * 360)
    assert hours.counts_otherwise(TEN.number * 360)


@pytest.mark.parametrize("number", [-1, 2**62])
def test_a_number_that_means_nothing_is_none_of_the_other_length(number: int) -> None:
    assert not hours.counts_otherwise(number)
