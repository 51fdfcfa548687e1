"""A page leads to what each series grew by, from where it is known to have begun."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sidecar.metering.readings import Reading
from sidecar.quick_dataclasses import replace
from sidecar.settings.pull_sources import PullSource, SourceBegin, SourceKind, SourceTake
from sidecar.sources.fault import SourceFault
from sidecar.sources.page import parse
from sidecar.sources.prometheus import nobody_listened, take
from sidecar.sources.taken import Taken

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SOURCE = PullSource(
    kind=SourceKind.PROMETHEUS, dimension="d", url="http://127.0.0.1:9100/metrics", metric="m", tags=(("t", "tenant"),)
)
GAUGE = replace(SOURCE, take=SourceTake.MAXIMUM, tags=())

Kept = Mapping[str, Reading]


def read(text: str, before: Kept | None = None, source: PullSource = SOURCE) -> Taken:
    return take(source, parse(text.encode(), source.metric, open_metrics=False), before or {}, NOON)


def follow(*pages: str, source: PullSource = SOURCE, before: Kept | None = None) -> dict[tuple[str, ...], Decimal]:
    """Return what a source comes to that is read to be these pages in turn, by tag values."""
    kept, totals = dict(before or {}), dict[tuple[str, ...], Decimal]()
    for page in pages:
        taken = read(page, kept, source)
        kept |= {one.series: one for one in taken.readings}
        for event in taken.events:
            key = tuple(value for _, value in event.tags)
            totals[key] = totals.get(key, Decimal(0)) + Decimal(event.micros) / 1_000_000
    return totals


def absent() -> Kept:
    return {one.series: one for one in nobody_listened(SOURCE, {}, NOON).readings}


def test_series_are_added_up_by_their_tags() -> None:
    first = 'm{tenant="a",x="1"} 10\nm{tenant="a",x="2"} 20\nm{tenant="b"} 30\nm 5\n'
    then = 'm{tenant="a",x="1"} 11\nm{tenant="a",x="2"} 22\nm{tenant="b"} 34\nm 13\n'
    assert follow(first, then) == {("a",): 3, ("b",): 4, (): 8}


def test_the_first_page_counts_nothing_and_a_series_that_is_new_later_counts_whole() -> None:
    assert follow('m{tenant="a"} 10\n') == {}
    assert follow('m{tenant="a"} 10\n', 'm{tenant="a"} 10\nm{tenant="b"} 3\n') == {("b",): 3}


def test_the_first_page_counts_whole_where_nothing_listened_before() -> None:
    assert follow('m{tenant="a"} 10\n', before=absent()) == {("a",): 10}


def test_an_address_of_others_that_refuses_says_nothing_of_their_beginning() -> None:
    assert nobody_listened(replace(SOURCE, url="http://metrics.other:9100/"), {}, NOON) == Taken()
    assert nobody_listened(SOURCE, absent(), NOON) == Taken(), "it is noted once"


def test_the_first_page_counts_whole_where_the_source_says_so() -> None:
    assert follow('m{tenant="a"} 10\n', source=replace(SOURCE, begin=SourceBegin.ZERO)) == {("a",): 10}


def test_a_restart_of_one_series_changes_nothing_about_the_others() -> None:
    assert follow('m{tenant="a"} 10\nm{tenant="b"} 10\n', 'm{tenant="a"} 2\nm{tenant="b"} 11\n') == {
        ("a",): 2,
        ("b",): 1,
    }


def test_a_series_that_vanishes_and_returns_goes_on_from_where_it_was() -> None:
    assert follow('m{tenant="a"} 10\n', "# TYPE m counter\n", 'm{tenant="a"} 12\n') == {("a",): 2}
    assert follow('m{tenant="a"} 10\n', "# TYPE m counter\n", 'm{tenant="a"} 4\n') == {("a",): 4}


def test_an_idle_counter_leads_to_nothing_that_is_written() -> None:
    before = {one.series: one for one in read("m 10\n").readings}
    taken = read("m 10\n", before)
    assert (taken.events, taken.readings, taken.series) == ((), (), 1)


def test_a_value_that_is_no_tag_is_counted_without_it_and_named() -> None:
    taken = read('m{tenant="ä"} 10\n', absent())
    assert (taken.events[0].tags, taken.events[0].micros, taken.untagged) == ((), 10_000_000, "ä")
    assert read('m{tenant="a"} 10\n', absent()).untagged == ""


def test_a_gauge_is_the_sum_of_its_series() -> None:
    (event,) = read('# TYPE m gauge\nm 1.5\nm{x="1"} 2\n', source=GAUGE).events
    assert event.micros == 3_500_000
    assert read("# TYPE m gauge\n", source=GAUGE).events == ()


@pytest.mark.parametrize(
    ("text", "source", "reason"),
    [
        ("# TYPE m gauge\nm 1\n", SOURCE, "metric_type"),
        ("# TYPE m counter\nm 1\n", GAUGE, "metric_type"),
        ("other 1\n", SOURCE, "metric_missing"),
        ("m 10000000000\n", GAUGE, "value_unusable"),
    ],
)
def test_what_cannot_be_counted_so_is_refused(text: str, source: PullSource, reason: str) -> None:
    with pytest.raises(SourceFault) as caught:
        read(text, source=source)
    assert caught.value.reason == reason
    assert "m" in caught.value.hint


def test_series_that_come_and_go_are_bounded_too() -> None:
    known = {f"s{at}": Reading(series=f"s{at}", value=Decimal(1), at=NOON) for at in range(10_001)}
    with pytest.raises(SourceFault, match="too_many_series"):
        read("m 1\n", known)
