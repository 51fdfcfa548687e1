"""One metric of a page is read to the digit, or nothing of it is used."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.parser import text_string_to_metric_families

from sidecar.sources.fault import SourceFault
from sidecar.sources.page import SERIES_MAX, Page, matching, parse

ODD = 'a "quoted", \\back\nslash} {x="y"} # é'


def read(text: str, metric: str = "m_total", *, open_metrics: bool = False) -> Page:
    return parse(text.encode(), metric, open_metrics=open_metrics)


def reason(text: str, metric: str = "m_total", *, open_metrics: bool = False) -> str:
    with pytest.raises(SourceFault) as caught:
        read(text, metric, open_metrics=open_metrics)
    return caught.value.reason


def served() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter = Counter("m", "Help with a # in it.", ["tenant", "code"], registry=registry)
    counter.labels(ODD, "200").inc(3)
    counter.labels("b", "500").inc(0.1)
    counter.labels("", "500").inc(1e21)
    Gauge("m_others", "Begins alike.", registry=registry).set(9)
    Histogram("m_seconds", "A histogram.", registry=registry).observe(0.25)
    return registry


def test_what_the_official_client_writes_is_read_as_its_own_parser_reads_it() -> None:
    text = generate_latest(served()).decode()
    (theirs,) = [one for one in text_string_to_metric_families(text) if one.name == "m"]
    ours = {one.series: one.value for one in read(text).samples}
    assert {float(value) for value in ours.values()} == {one.value for one in theirs.samples if one.name == "m_total"}
    labels = [dict(one.labels) for one in read(text).samples]
    assert labels == [one.labels for one in theirs.samples if one.name == "m_total"]


def test_openmetrics_of_the_official_client_is_read_with_its_creation() -> None:
    page = parse(generate_open(served()), "m_total", open_metrics=True)
    assert (page.type, len(page.samples), page.ended) == ("counter", 3, True)
    assert page.created.keys() == {one.series for one in page.samples}
    assert all(value > 10**9 for value in page.created.values())


def test_a_counter_may_be_named_without_total_where_openmetrics_adds_it() -> None:
    assert len(parse(generate_open(served()), "m", open_metrics=True).samples) == 3
    assert parse(generate_latest(served()), "m", open_metrics=False).samples == []


def test_a_creation_is_none_where_the_name_may_be_another_metric() -> None:
    assert read("m_total 5\nm_created 7\n").created == {}


def test_a_histogram_has_its_count() -> None:
    page = parse(generate_latest(served()), "m_seconds_count", open_metrics=False)
    assert (page.type, [one.value for one in page.samples]) == ("histogram", [1])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.30000000000000004", "0.30000000000000004"),
        ("9007199254740993", "9007199254740993"),
        ("1.5e+06", "1500000"),
        ("+7.", "7"),
        (".5", "0.5"),
        ("3 1700000000000", "3"),
        ('3 # {trace_id="x"} 1 2', "3"),
        ('3 1700000000.5 # {trace_id="}"} 1', "3"),
    ],
)
def test_a_value_is_the_decimal_that_is_written(text: str, value: str) -> None:
    (sample,) = read(f'm_total{{a="b"}} {text}\n').samples
    assert sample.value == Decimal(value)


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-1", "1e24", "1e-31", "nan"])
def test_a_value_that_cannot_be_billed_is_refused(text: str) -> None:
    assert reason(f"m_total {text}\n") == "value_unusable"


def test_a_value_that_is_refused_is_named_with_its_series_as_the_page_has_it() -> None:
    with pytest.raises(SourceFault, match="Correct the product's metric") as caught:
        read('m_total{code="200",who="a"} -3\n')
    assert caught.value.hint.startswith('m_total{code="200",who="a"} is "-3". ')


@pytest.mark.parametrize(
    "line",
    [
        "m_total",
        "m_total x",
        "m_total 1 x",
        "m_total 1 2 3",
        "m_total 0x1p3",
        "m_total 1_000",
        'm_total{a="b" 1',
        "m_total{a=b} 1",
        'm_total{a="b",a="c"} 1',
        'm_total{a="b"}{c="d"} 1',
        'm_total{a="\udcff"} 1',
    ],
)
def test_a_line_of_the_metric_that_is_malformed_is_refused(line: str) -> None:
    with pytest.raises(SourceFault) as caught:
        parse(line.encode("utf-8", "surrogateescape") + b"\n", "m_total", open_metrics=False)
    assert caught.value.reason == "page_malformed"
    assert "Line 1" in caught.value.hint


def test_lines_of_other_metrics_are_not_looked_at() -> None:
    page = read('other{ nonsense\nm_total_more 4\nm_total{a="b",} 1\n{"m.total"} 3\nm_total\t2\n')
    assert [one.value for one in page.samples] == [1, 2]


def test_a_series_that_is_there_twice_is_refused_in_any_order_of_its_labels() -> None:
    assert reason('m_total{a="1",b="2"} 1\nm_total{b="2",a="1"} 2\n') == "page_malformed"


@pytest.mark.parametrize(
    ("text", "open_metrics"), [("m_total 12", False), ("m_total 12\n", True), ("m_total 12\n# EO\n", True)]
)
def test_a_page_that_broke_off_is_not_used(text: str, open_metrics: bool) -> None:
    assert reason(text, open_metrics=open_metrics) == "page_incomplete"


def test_what_stands_behind_the_end_is_refused() -> None:
    assert reason("m_total 1\n# EOF\nm_total 2\n", open_metrics=True) == "page_malformed"


def test_more_series_than_are_followed_are_refused() -> None:
    lines = "".join(f'm_total{{a="{at}"}} 1\n' for at in range(SERIES_MAX + 1))
    assert reason(lines) == "too_many_series"


def test_a_series_matches_by_all_labels_and_a_missing_one_is_empty() -> None:
    page = read('m_total{a="1",b="2"} 1\nm_total{a="1"} 2\nm_total 4\n')
    assert [one.value for one in matching(page, (("a", "1"),))] == [1, 2]
    assert [one.value for one in matching(page, (("a", "1"), ("b", "")))] == [2]
    assert [one.value for one in matching(page, ())] == [1, 2, 4]


def test_an_exact_type_line_wins_over_one_of_the_shorter_name() -> None:
    assert read("# TYPE m_total counter\n# TYPE m gauge\nm_total 1\n").type == "counter"
    assert read("# TYPE m gauge\n# TYPE m_total counter\nm_total 1\n").type == "counter"
