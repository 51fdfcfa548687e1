"""Our usage of a day against the lines of the feed."""

from __future__ import annotations

import pytest

from sidecar.audit.days import DayKey, DayUsage, Used, add_used, by_day, compare_day, missing, newest
from sidecar.audit.feed import FeedRow
from sidecar.audit.rows import Difference, Kind, Row
from tests.unit.audit.support import MICROS, ours

KEY = DayKey("2025-11-24", "us-east-1", "requests")


def line(quantity: int, usage: str = "u-1", **more: str) -> FeedRow:
    """Return a line of the feed; its quantity is in micros."""
    values = {name: "" for name in FeedRow._fields if name != "quantity"}
    values |= {"usage": usage, "day": KEY.day, "region": KEY.region, "dimension": KEY.dimension, **more}
    return FeedRow(quantity=quantity, **values)


def compared(lines: list[FeedRow], *rows: Row) -> list[Difference]:
    used: Used = {}
    for row in rows:
        add_used(used, row)
    billed = list(by_day(lines))
    found = [one for day in billed if (one := compare_day(day, used.get(day.key)))]
    return [*found, *missing(used, {day.key for day in billed})]


def test_accounts_and_pods_are_added_up() -> None:
    assert compared([line(3 * MICROS), line(6 * MICROS, "u-2")], ours("a", 4), ours("b", 5)) == []


def test_another_quantity_is_named() -> None:
    (one,) = compared([line(8 * MICROS)], ours("a", 7))
    assert (one.kind, one.ours, one.billed, one.when) == (Kind.OTHER_QUANTITY, 7 * MICROS, 8 * MICROS, KEY.day)


def test_what_only_the_feed_has_is_unknown() -> None:
    (one,) = compared([line(8 * MICROS)])
    assert (one.kind, one.ours, one.billed) == (Kind.BILLED_UNKNOWN, None, 8 * MICROS)


@pytest.mark.parametrize("other", [{"region": "eu-west-1"}, {"dimension": "other"}, {"hour": 490_008}])
def test_what_the_feed_does_not_have_is_not_billed(other: dict[str, object]) -> None:
    found = compared([line(7 * MICROS)], ours("a", 7), ours("b", 1, **other))
    assert [one.kind for one in found] == [Kind.NOT_BILLED]


def test_nothing_used_and_nothing_billed_is_equal() -> None:
    assert compared([line(0)], ours("a", 0)) == []
    assert compared([], ours("a", 0)) == []
    assert compared([line(0)]) == []


def test_two_decimal_places_are_compared_exactly() -> None:
    usage = ours("a", 0)._replace(quantity=7_010_000)
    assert compared([line(7_010_000)], usage) == []
    assert [one.kind for one in compared([line(7_000_000)], usage)] == [Kind.OTHER_QUANTITY]


def test_finer_usage_may_be_off_by_less_than_a_hundredth_a_line() -> None:
    usage = ours("a", 0)._replace(quantity=7_005_999)
    for written in (7_000_000, 7_010_000):
        assert compared([line(written)], usage) == []
    for written in (6_990_000, 7_020_000):
        assert [one.kind for one in compared([line(written)], usage)] == [Kind.OTHER_QUANTITY]
    assert compared([line(7_000_000), line(20_000, "u-2")], usage) == []


def test_usage_below_the_feeds_precision_is_not_missed() -> None:
    assert compared([], ours("a", 0)._replace(quantity=9_999)) == []
    assert [one.kind for one in compared([], ours("a", 0)._replace(quantity=10_001))] == [Kind.NOT_BILLED]


def revised(quantity: int, valid_from: str, updated: str, deleted: str = "", usage: str = "u-1") -> FeedRow:
    return line(quantity, usage, valid_from=valid_from, updated=updated, deleted=deleted)


def in_order(*rows: FeedRow) -> list[FeedRow]:
    """Return lines as the database sorts them."""
    ordered = sorted(rows, key=lambda row: (row.valid_from, row.updated), reverse=True)
    return sorted(ordered, key=lambda row: row.usage)


def test_the_newest_revision_of_a_usage_counts() -> None:
    rows = in_order(
        revised(1, "d1", "d1"), revised(2, "d1", "d2"), revised(3, "d2", "d2"), revised(9, "d1", "d1", "", "u-2")
    )
    assert [row.quantity for row in newest(rows)] == [3, 9]


def test_a_deleted_revision_leaves_the_one_before() -> None:
    rows = in_order(revised(1, "d1", "d1"), revised(3, "d2", "d2"), revised(3, "d2", "d3", "d3"))
    assert [row.quantity for row in newest(rows)] == [1]
    assert list(newest(in_order(revised(1, "d1", "d1"), revised(1, "d1", "d2", "d2")))) == []


def test_usage_of_a_day_knows_whether_it_is_finer() -> None:
    used: Used = {}
    add_used(used, ours("a", 1))
    assert used[KEY] == DayUsage(micros=MICROS, finer=False)
    add_used(used, ours("b", 0)._replace(quantity=1))
    assert used[KEY] == DayUsage(micros=MICROS + 1, finer=True)
