"""The CSV file of the Daily Usage feed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from sidecar.audit.daily_usage import FeedRows, feed_quantity
from sidecar.audit.feed import COLUMNS, FeedRow
from sidecar.audit.input_files import Period, Reading, Unreadable

HEADER = "usage_date,region,dimension_key,usage_quantity,product_id,something_new,usage_feed_id"
LINE = "2025-11-24,us-east-1,requests,24.00,prod-1,x,u-1"


def read(path: Path, text: str, reading: Reading, **more: object) -> list[FeedRow]:
    path.write_text(text)
    given: dict[str, object] = {"columns": {}, "period": Period(), **more}
    feed = FeedRows(reading, advance=lambda *_: None, **given)  # type: ignore[arg-type]
    return list(feed.read(str(path)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.csv"


def test_a_line_is_read_by_the_names_of_its_columns(path: Path) -> None:
    (row,) = read(path, f"\ufeff{HEADER}\n{LINE}\n", Reading())
    assert (row.day, row.region, row.dimension, row.quantity) == ("2025-11-24", "us-east-1", "requests", 24_000_000)
    assert (row.product, row.usage, row.agreement, row.rate) == ("prod-1", "u-1", "", "")


def test_quoted_cells_and_times_are_read(path: Path) -> None:
    line = '2025-11-24T00:00:00Z,"us-east-1","a, ""b""",1,,,'
    (row,) = read(path, f"{HEADER}\n{line}\n", Reading())
    assert (row.day, row.dimension) == ("2025-11-24", 'a, "b"')
    assert row.usage, "a line without an id is a usage of its own"


def test_an_empty_line_is_no_fault(path: Path) -> None:
    reading = Reading()
    assert len(read(path, f"{HEADER}\n{LINE}\n\n", reading)) == 1
    assert reading.faults == []


def test_columns_of_another_name_can_be_given(path: Path) -> None:
    reading = Reading()
    text = f"{HEADER}\n{LINE}\n".replace("dimension_key", "dimension")
    assert read(path, text, reading) == []
    assert "dimension_key (dimension)" in reading.faults[0]
    assert "--feed-column" in reading.faults[0]
    assert len(read(path, text, Reading(), columns={"dimension": "dimension"})) == 1


def test_every_missing_column_is_named_at_once(path: Path) -> None:
    reading = Reading()
    read(path, "a,b\n1,2\n", reading)
    (fault,) = reading.faults
    for role in ("day", "region", "dimension", "quantity"):
        assert COLUMNS[role] in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with nothing"),
        (HEADER + ",region\n", "region twice"),
        (f"{HEADER}\n2025-11-24,us-east-1\n", "2 cells"),
        (f"{HEADER}\n{LINE.replace('2025-11-24', '24.11.2025')}\n", "24.11.2025"),
        (f"{HEADER}\n{LINE.replace('requests', '')}\n", "dimension_key is empty"),
        (f"{HEADER}\n{LINE.replace('24.00', '24,00')}\n".replace("24,00", '"24,00"'), "24,00"),
        (f'{HEADER}\n{LINE}\n"x', "CSV"),
    ],
    ids=["empty", "twice", "cells", "day", "dimension", "comma", "quote"],
)
def test_a_file_that_breaks_a_rule_is_a_fault(path: Path, text: str, words: str) -> None:
    reading = Reading()
    read(path, text, reading)
    assert words in reading.faults[0]
    assert str(path) in reading.faults[0]


def test_lines_outside_the_period_or_of_another_product_are_ignored(path: Path) -> None:
    text = f"{HEADER}\n{LINE}\n{LINE.replace('24,us', '25,us')}\n{LINE.replace('prod-1', 'prod-2')}\n"
    reading = Reading()
    found = read(path, text, reading, period=Period(last=date(2025, 11, 24)), product="prod-1")
    assert [row.product for row in found] == ["prod-1"]
    assert dict(reading.ignored) == {"outside_period": 1, "other_product": 1}


def test_one_account_can_be_compared_alone(path: Path) -> None:
    text = f"{HEADER},end_user_account_id\n{LINE},hash-1\n{LINE},hash-2\n"
    reading = Reading()
    assert [row.account for row in read(path, text, reading, account="hash-2")] == ["hash-2"]
    assert dict(reading.ignored) == {"other_account": 1}
    assert len(read(path, text, Reading())) == 2


def test_quantities_are_exact() -> None:
    assert feed_quantity("0.1", "q") == 100_000
    assert feed_quantity("-3.50", "q") == -3_500_000
    assert feed_quantity("99999999999999.999999", "q") == 99_999_999_999_999_999_999
    for wrong in ("1e3", "", "1,000", "0.0000001", "NaN", " 1", "9" * 50):
        with pytest.raises(Unreadable):
            feed_quantity(wrong, "q")


def test_a_file_that_cannot_be_opened_is_one_fault(tmp_path: Path) -> None:
    reading = Reading()
    feed = FeedRows(reading, Period(), advance=lambda *_: None, columns={})
    assert list(feed.read(str(tmp_path / "missing.csv"))) == []
    (fault,) = reading.faults
    assert "No such file" in fault
