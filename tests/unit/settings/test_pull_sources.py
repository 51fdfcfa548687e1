"""A source fits the dimension it names, or both are named in the fault."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from sidecar.settings.pull_sources import PullSource, SourceKind, SourceTake
from tests.unit.settings.helpers import load, needed, problem

DIMENSIONS = [
    {"name": "requests", "tags": ["tenant"]},
    {"name": "peak", "aggregation": "max", "scope": "pod"},
    {"name": "nodes", "aggregation": "max", "scope": "singleton"},
    {"name": "node_hours", "decimals": 6, "scope": "singleton"},
]
COUNTER = {
    "kind": "prometheus",
    "dimension": "requests",
    "url": "http://127.0.0.1:9100/metrics",
    "metric": "requests_total",
    "take": "increase",
}
GAUGE = COUNTER | {"dimension": "peak", "metric": "sessions", "take": "maximum"}
HEARTBEAT = {"kind": "heartbeat", "dimension": "requests", "quantity": "1.5"}
NODES = {"kind": "kubernetes", "dimension": "node_hours", "count": "nodes", "take": "integral"}


def environment(*sources: object) -> dict[str, str]:
    texts = {"SIDECAR_DIMENSIONS": json.dumps(DIMENSIONS), "SIDECAR_SOURCES": json.dumps(sources)}
    return needed() | texts


def test_sources_that_fit_are_read() -> None:
    read = load(environment(COUNTER, GAUGE, HEARTBEAT, NODES)).sources
    assert [one.kind for one in read] == [*[SourceKind.PROMETHEUS] * 2, SourceKind.HEARTBEAT, SourceKind.KUBERNETES]
    assert (read[2].quantity, read[3].take) == (Decimal("1.5"), SourceTake.INTEGRAL)


def test_no_source_is_the_default() -> None:
    assert load().sources == ()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (COUNTER | {"dimension": "peak"}, ("peak", "max", "increase needs sum")),
        (GAUGE | {"dimension": "requests"}, ("requests", "sum", "maximum needs max")),
        (HEARTBEAT | {"dimension": "peak"}, ("peak", "max", "heartbeat needs sum")),
        (NODES | {"dimension": "nodes"}, ("nodes", "max", "integral needs sum")),
        (COUNTER | {"dimension": "bytes"}, ("bytes", "not one of the dimensions")),
        (COUNTER | {"tags": {"region": "az"}}, ("requests", "tenant", '"region" is not one')),
        (NODES | {"dimension": "requests"}, ("requests", "scope: singleton")),
    ],
    ids=["increase", "maximum", "heartbeat", "integral", "unknown", "tag", "scope"],
)
def test_a_source_that_does_not_fit_its_dimension_is_refused(source: object, words: tuple[str, ...]) -> None:
    found = problem(environment(source))
    assert found.setting == "SIDECAR_SOURCES"
    assert all(word in found.fault for word in words), found.fault


def test_a_maximum_has_one_source_and_a_sum_may_have_several() -> None:
    assert len(load(environment(COUNTER, HEARTBEAT)).sources) == 2
    with pytest.raises(Exception, match="several sources"):
        load(environment(GAUGE, GAUGE | {"metric": "others"}))


def test_wrong_dimensions_are_the_only_fault() -> None:
    env = environment(COUNTER) | {"SIDECAR_DIMENSIONS": '[{"name": "requests", "aggregation": "mean"}]'}
    assert problem(env).setting == "SIDECAR_DIMENSIONS"


def test_a_key_follows_from_what_is_read_and_not_from_how_often() -> None:
    (first, other, third) = (
        load(environment(one)).sources[0].key
        for one in (COUNTER, COUNTER | {"interval_seconds": 5, "begin": "zero"}, COUNTER | {"labels": {"code": "200"}})
    )
    assert first == other
    assert first != third
    assert first.startswith("prometheus/requests/")


def test_a_source_is_written_as_it_is_read() -> None:
    every = load(environment(COUNTER | {"labels": {"a": "b"}, "tags": {"tenant": "t"}}, GAUGE, HEARTBEAT, NODES))
    written = json.loads(f"[{','.join(map(str, every.sources))}]")
    assert load(environment(*written)).sources == every.sources
    assert all(isinstance(one, PullSource) for one in every.sources)
