"""An event's instant is read exactly, and only where it is one everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.hours import EPOCH, Hour
from sidecar.metering.timestamps import InstantOutOfRange, micros_since_epoch, read_instant
from sidecar.strict_json import JsonNumber

TEN_FIFTEEN = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T10:15:00Z",
        "2026-11-20t10:15:00z",
        "2026-11-20 10:15:00+00:00",
        "2026-11-20T10:15Z",
        "2026-11-20T11:15:00+01:00",
        "2026-11-20T15:45:00+0530",
        "2026-11-20T10:15:00.000Z",
        "2026-11-20T10:15:00,0Z",
        JsonNumber("1795169700"),
        JsonNumber("1795169700.0"),
        JsonNumber("1.7951697e9"),
    ],
)
def test_one_instant_has_many_spellings(value: object) -> None:
    assert read_instant(value) == TEN_FIFTEEN
    assert read_instant(value).tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T10:15:00",
        "2026-11-20",
        "2026-W47-5T10:15Z",
        "20261120T101500Z",
        "2026-02-30T10:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:60:00Z",
        "2026-11-20T10:15:00+25:00",
        "1795169700",
        "",
        "now",
        "2026-11-20T10:15:00Z ",
        True,
        None,
        1795169700.5,
        [],
    ],
)
def test_what_is_no_instant_everywhere_is_none(value: object) -> None:
    with pytest.raises(ValueError) as caught:
        read_instant(value)
    assert not isinstance(caught.value, InstantOutOfRange)


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        JsonNumber("1e30"),
        JsonNumber("-1e30"),
        JsonNumber("1e99999999999999999999"),
        JsonNumber("1e999999999999999999"),
    ],
)
def test_an_instant_beyond_the_calendar_is_out_of_range(value: object) -> None:
    with pytest.raises(InstantOutOfRange):
        read_instant(value)


def test_a_leap_second_belongs_to_the_hour_it_ends() -> None:
    eleven_pm = Hour(datetime(2016, 12, 31, 23, tzinfo=UTC))
    assert Hour.at(read_instant("2016-12-31T23:59:60Z")) == eleven_pm
    assert Hour.at(read_instant("2017-01-01T05:29:60.5+05:30")) == eleven_pm


def test_a_leap_second_elsewhere_is_no_instant() -> None:
    with pytest.raises(ValueError):
        read_instant("2016-12-31T22:59:60Z")


def test_what_is_finer_than_a_microsecond_does_not_move_into_the_next_hour() -> None:
    assert Hour.at(read_instant("2026-11-20T10:59:59.999999999Z")).start.hour == 10
    assert read_instant(JsonNumber("1795172399.9999999")).hour == 10
    assert read_instant(JsonNumber("-0.0000001")) < EPOCH


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_an_instant_survives_both_forms(instant: datetime) -> None:
    micros = micros_since_epoch(instant)
    sign, (seconds, rest) = "-" if micros < 0 else "", divmod(abs(micros), 10**6)
    assert read_instant(JsonNumber(f"{sign}{seconds}.{rest:06d}")) == instant
    assert read_instant(instant.isoformat()) == instant
    assert EPOCH + timedelta(microseconds=micros) == instant
