"""Counts of the cluster become usage; what a child says is read with suspicion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sidecar.metering.readings import Reading
from sidecar.quick_dataclasses import replace
from sidecar.settings.pull_sources import PullSource, SourceCount, SourceKind, SourceTake
from sidecar.sources.fault import SourceFault
from sidecar.sources.kubernetes import Cluster, read_answer, request_of, take

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CLUSTER = Cluster(mount="/mount", host="10.0.0.1", port="443", namespace="own")
SOURCE = PullSource(
    kind=SourceKind.KUBERNETES, dimension="d", count=SourceCount.PODS, take=SourceTake.INTEGRAL, interval_seconds=60
)


def test_an_integral_counts_from_the_last_reading_on() -> None:
    first = take(SOURCE, Decimal(6), {}, NOON)
    assert (first.events, first.began) == ((), "reading")
    second = take(SOURCE, Decimal(1), {"": first.readings[0]}, NOON + timedelta(minutes=5))
    assert (second.events[0].micros, second.began, second.gap) == (500_000, "", timedelta(0))


def test_a_gap_counts_nothing_and_is_told() -> None:
    before = {"": Reading(series="", value=Decimal(6), at=NOON)}
    taken = take(SOURCE, Decimal(6), before, NOON + timedelta(hours=2))
    assert (taken.events, taken.gap) == ((), timedelta(hours=2))


def test_a_maximum_is_the_count() -> None:
    (event,) = take(replace(SOURCE, take=SourceTake.MAXIMUM), Decimal("1.25"), {}, NOON).events
    assert event.micros == 1_250_000


@pytest.mark.parametrize(("given", "asked"), [("", "own"), ("other", "other"), ("*", "")])
def test_pods_are_counted_in_their_own_namespace_unless_another_is_named(given: str, asked: str) -> None:
    assert request_of(replace(SOURCE, namespace=given), CLUSTER, "/mount").namespace == asked


@pytest.mark.parametrize("cluster", [None, replace(CLUSTER, namespace=""), replace(CLUSTER, host="")])
def test_without_a_way_to_the_api_nothing_is_asked(cluster: Cluster | None) -> None:
    with pytest.raises(SourceFault, match="cluster_unconfigured"):
        request_of(SOURCE, cluster, "/mount")


def test_the_childs_line_is_a_count_or_a_fault() -> None:
    assert read_answer(b'{"value": "12.5"}') == Decimal("12.5")
    fault = read_answer(b'{"reason": "cluster_refused", "hint": "Grant"}')
    assert isinstance(fault, SourceFault)
    assert fault.reason == "cluster_refused"


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"[]", b"{}", b'{"value": 1e999}', b'{"value": "-1"}', b'{"value": "NaN"}'),
        *(b'{"value": "2141e99974836475"}', b'{"value": "1e-99974836475"}', b'{"value": "1e24"}'),
    ],
)
def test_what_is_no_count_is_none(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_answer(line)
