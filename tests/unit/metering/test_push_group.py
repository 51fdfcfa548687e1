"""A group of requests is judged one by one, in order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import (
    EPOCH,
    MICROSECOND,
    WHOLE,
    PushGroup,
    PushResult,
    prepared,
    prepared_together,
    tags_of,
    tags_text,
)
from sidecar.metering.quantities import Micros
from sidecar.settings.dimensions import Aggregation

NOON = datetime(2026, 1, 2, 12, 10, tzinfo=UTC)
HOUR = Hour.at(NOON)
KINDS = {"sum": Aggregation.SUM, "max": Aggregation.MAX, "last": Aggregation.LAST, "unique": Aggregation.UNIQUE}


def group(open_from: Hour = HOUR, known: dict[bytes, bytes] | None = None) -> PushGroup:
    return PushGroup(open_from.number, KINDS, known or {})


def event(dimension: str = "sum", micros: int = 1, **more: object) -> UsageEvent:
    return UsageEvent(dimension=dimension, micros=Micros(micros))._replace(**more)


def take(into: PushGroup, *events: UsageEvent, now: datetime = NOON) -> PushResult:
    at = (now - EPOCH) // MICROSECOND
    return into.add_events([prepared(one, at) for one in events])


def refused(answer: PushResult) -> tuple[int, str, int | None]:
    assert isinstance(answer, PushRefused)
    return answer.status, answer.reason, answer.index


def test_an_id_counts_once_within_a_request_and_within_a_group() -> None:
    into = group()
    assert take(into, event(id="a"), event(id="a"), event(id="b")) == PushAccepted(accepted=2, duplicates=1)
    assert take(into, event(id="b"), event(id="c")) == PushAccepted(accepted=1, duplicates=1)
    assert into.buckets[HOUR.number, "sum", "[]"][:2] == [3, 3]
    assert len(into.entries) == 3


def test_events_without_an_id_all_count() -> None:
    assert take(group(), event(), event()) == PushAccepted(accepted=2, duplicates=0)


def test_a_bad_request_refuses_itself_and_leaves_no_trace() -> None:
    into = group()
    assert take(into, event(id="a", micros=1)) == PushAccepted(accepted=1, duplicates=0)
    assert refused(take(into, event(id="b"), event(id="a", micros=2))) == (409, "id_conflict", 1)
    assert take(into, event(id="b", micros=7)) == PushAccepted(accepted=1, duplicates=0), "b was never taken"
    assert into.buckets[HOUR.number, "sum", "[]"][:2] == [2, 8]


def test_two_contents_under_one_id_in_one_request_are_a_conflict() -> None:
    assert refused(take(group(), event(id="a", micros=1), event(id="a", micros=2))) == (409, "id_conflict", 1)


def test_a_sealed_hour_is_reported_before_a_conflict() -> None:
    into = group()
    take(into, event(id="a"))
    late = event("max", at=NOON - timedelta(hours=1))
    assert refused(take(into, event(id="a", micros=2), late)) == (422, "hour_sealed", 1)


def test_a_duplicate_is_one_though_its_hour_was_sealed_since() -> None:
    sent = event("max", id="a", at=NOON)
    first = prepared(sent, (NOON - EPOCH) // MICROSECOND).entry
    assert first is not None
    known = {first[:16]: first[16:]}
    assert take(group(HOUR.next, known), sent) == PushAccepted(accepted=0, duplicates=1)
    assert refused(take(group(HOUR.next), sent)) == (422, "hour_sealed", 0)


def test_late_usage_of_a_sum_counts_in_the_open_hour_with_its_origin() -> None:
    into = group()
    take(into, event(micros=5, at=NOON - timedelta(hours=3)), event(micros=1))
    assert into.buckets[HOUR.number, "sum", "[]"][:2] == [2, 6]
    assert into.late == {(HOUR.number, "sum", HOUR.number - 3): [1, 5]}


def test_a_value_of_now_is_taken_though_the_clock_was_set_back() -> None:
    into = group(HOUR.next)
    assert take(into, event("max", 5)) == PushAccepted(accepted=1, duplicates=0)
    assert (HOUR.number + 1, "max", "[]") in into.buckets


def test_usage_of_the_next_hour_counts_there() -> None:
    into = group()
    take(into, event(at=HOUR.end))
    assert set(into.buckets) == {(HOUR.number + 1, "sum", "[]")}


def test_the_largest_the_latest_and_the_distinct_are_kept() -> None:
    into = group()
    take(into, event("max", 5), event("max", 9), event("max", 2))
    take(into, event("last", 5, at=NOON), event("last", 9, at=NOON - timedelta(seconds=1)), event("last", 7, at=NOON))
    take(into, event("unique", key="x"), event("unique", key="y"), event("unique", key="x"))
    assert into.buckets[HOUR.number, "max", "[]"][2] == 9
    assert into.buckets[HOUR.number, "last", "[]"][3] == 7, "of two equal instants the later arrival"
    assert len(into.keys) == 2


def last(into: PushGroup) -> int:
    return into.buckets[HOUR.number, "last", "[]"][3]


def test_without_an_instant_the_order_of_arrival_decides_what_is_last() -> None:
    into = group()
    take(into, event("last", 5))
    take(into, event("last", 7), now=NOON - timedelta(minutes=5))
    assert last(into) == 7, "the clock was set back"
    take(into, event("last", 9, at=NOON - timedelta(minutes=4)))
    assert last(into) == 9, "later than that, by the clock as it is now"
    take(into, event("last", 3, at=NOON - timedelta(minutes=6)))
    assert last(into) == 9, "of events that say when, the latest"


def test_values_that_do_not_add_up_are_not_added_up() -> None:
    into = group()
    take(into, *[event("last", 9_999_999_999_999_999)] * 1000)
    assert into.buckets[HOUR.number, "last", "[]"][:2] == [1000, 0]


def test_a_tag_set_has_one_spelling() -> None:
    tags = (("a", "ü"), ("b", "x"))
    assert tags_of(tags_text(tags)) == tags
    assert tags_of(tags_text(())) == ()


def some(chance: random.Random, ids: list[str]) -> UsageEvent:
    """Few values each, so that many events are alike."""
    dimension = chance.choice(list(KINDS))
    earliest = -3 if dimension == "sum" else 0
    return event(
        dimension,
        chance.choice((0, 1, 5)),
        id=ids.pop() if chance.random() < 0.5 else None,
        at=None if chance.random() < 0.5 else HOUR.start + timedelta(hours=chance.choice((earliest, 0)), minutes=1),
        tags=chance.choice(((), (("tenant", "a"),))),
        key=chance.choice("ab") if dimension == "unique" else None,
    )


@pytest.mark.parametrize("seed", range(40))
def test_events_that_are_alike_count_as_they_do_one_by_one(seed: int) -> None:
    chance, ids, at = random.Random(seed), [str(number) for number in range(200)], (NOON - EPOCH) // MICROSECOND
    together, one_by_one, kept = group(), group(), []
    for _ in range(chance.choice((1, 3))):
        events = [some(chance, ids) for _ in range(chance.choice((1, 2, 60)))]
        entries, alike = prepared_together(events, at, WHOLE)
        kept += entries
        assert together.add_new(alike) == one_by_one.add_events([prepared(one, at) for one in events])
        assert len(alike) < 60
    for name in ("buckets", "arrived", "keys", "late", "totals"):
        assert getattr(together, name) == getattr(one_by_one, name), name
    assert kept == one_by_one.entries


def test_one_event_that_counts_in_no_hour_leaves_the_request_to_be_judged_by_event() -> None:
    late = event("max", at=NOON - timedelta(hours=1))
    _, alike = prepared_together([event("sum"), late], (NOON - EPOCH) // MICROSECOND, WHOLE)
    assert group().add_new(alike) is None
