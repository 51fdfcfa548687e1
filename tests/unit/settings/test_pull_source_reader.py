"""Sources are read in every form, and every fault is reported at once."""

from __future__ import annotations

import json
from datetime import timedelta

import jsonschema
import pytest
import yaml

from sidecar.metering.readings import GAP_MAX
from sidecar.settings.pull_source_reader import (
    INTEGRAL_SECONDS_MAX,
    SOURCES_MAX,
    SourcesFault,
    read_pull_sources,
    schema,
)
from tests.unit.settings.test_pull_sources import COUNTER, GAUGE, HEARTBEAT, NODES


def faults(value: object) -> str:
    with pytest.raises(SourcesFault) as caught:
        read_pull_sources(value)
    return "\n".join(caught.value.faults)


def test_json_text_and_a_yaml_list_are_read_alike() -> None:
    given = [COUNTER | {"interval_seconds": 60}, HEARTBEAT | {"quantity": 0.5}, NODES]
    assert read_pull_sources(json.dumps(given)) == read_pull_sources(yaml.safe_load(yaml.safe_dump(given)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "127.0.0.1:9100"}, '[0].url: "127.0.0.1:9100" is not an http'),
        ({"url": "http://h/x#y"}, "fragment"),
        ({"metric": "requests-total"}, '"requests-total" is not the name of a metric'),
        ({"take": "integral"}, "[0].take is integral; kind prometheus takes increase or maximum"),
        ({"take": "sum"}, '"sum" is not one of: increase, maximum, integral'),
        ({"labels": {"code": 200}}, "200 is not text; put it in quotes"),
        ({"labels": ["code"]}, "an array is not a mapping"),
        ({"tags": {"tenant": "a-b"}}, '"a-b" is not the name of a label'),
        ({"interval_seconds": 1}, "1 is not a whole number of seconds from 5 to 3600"),
        ({"selector": "a=b"}, "[0].selector is not a field of kind prometheus"),
        ({"begin": "now"}, '"now" is not one of: auto, zero'),
    ],
    ids=lambda one: "" if isinstance(one, str) else next(iter(one)),
)
def test_a_field_that_is_wrong_is_refused_with_value_and_rule(change: dict[str, object], words: str) -> None:
    assert words in faults([COUNTER | change])


def test_a_maximum_has_no_tags() -> None:
    assert "[0].tags" in faults([GAUGE | {"tags": {"tenant": "t"}}])


def test_nodes_are_in_no_namespace_and_pods_are() -> None:
    assert '[0].namespace is "shop", but nodes are in no namespace' in faults([NODES | {"namespace": "shop"}])
    assert read_pull_sources([NODES | {"count": "pods", "namespace": "shop"}])


def test_an_integral_is_read_more_often_than_a_gap_is_long() -> None:
    assert "[0].interval_seconds is 301" in faults([NODES | {"interval_seconds": 301}])
    assert read_pull_sources([NODES | {"interval_seconds": 300}])
    assert timedelta(seconds=INTEGRAL_SECONDS_MAX) * 2 <= GAP_MAX, "one reading may fail"
    assert read_pull_sources([NODES | {"take": "maximum", "interval_seconds": 3600}])


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    for url in ("http://me:s3cret@host/metrics", "http://me:s3cret@:bad"):
        assert "s3cret" not in faults([COUNTER | {"url": url}])


def test_every_fault_is_reported_at_once() -> None:
    found = faults([3, {"kind": "heartbeet"}, {"kind": "heartbeat", "quantity": 0}, {"kind": "kubernetes"}])
    for words in ("[0] is 3", "[1].kind", "[2].quantity", "[2].dimension is missing", "[3].count is missing"):
        assert words in found


@pytest.mark.parametrize("value", ["", "[", "{}", 7, '[{"kind": "heartbeat", "kind": "heartbeat"}]'])
def test_what_is_no_list_of_sources_is_refused(value: object) -> None:
    assert faults(value)


def test_a_source_that_is_given_twice_is_refused_for_it_would_be_billed_twice() -> None:
    assert "billed twice" in faults([COUNTER, COUNTER | {"interval_seconds": 5}])


def test_more_sources_than_dimensions_can_be_are_refused() -> None:
    many = [HEARTBEAT | {"dimension": f"d{at}"} for at in range(SOURCES_MAX + 1)]
    assert "up to 24" in faults(many)
    assert len(read_pull_sources(many[1:])) == SOURCES_MAX


def test_the_schema_takes_what_is_read_and_refuses_what_is_not() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    check = jsonschema.Draft202012Validator(schema())
    assert check.is_valid([COUNTER, GAUGE, HEARTBEAT, NODES])
    for wrong in (COUNTER | {"take": "integral"}, HEARTBEAT | {"url": "http://h"}, {"kind": "x", "dimension": "d"}):
        assert not check.is_valid([wrong])
