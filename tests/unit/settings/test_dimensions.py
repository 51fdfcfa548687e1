"""Dimensions are read in every form, and every fault is reported at once."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import botocore.session
import pytest

from sidecar.settings.dimensions import (
    DIMENSIONS_MAX,
    NAME_MAX,
    TAG_CHARACTERS,
    TAG_KEY_MAX,
    TAG_KEYS_MAX,
    TAG_VALUE_MAX,
    Aggregation,
    Dimension,
    DimensionsFault,
    Scope,
    read_dimensions,
)

FULL = {
    "name": "gb",
    "aggregation": "sum",
    "scale": "0.001",
    "decimals": 3,
    "tags": ["tenant", "team"],
    "report_zero": True,
}
GB = Dimension(name="gb", scale=Decimal("0.001"), decimals=3, tags=("tenant", "team"), report_zero=True)


def faults(value: object) -> str:
    with pytest.raises(DimensionsFault) as caught:
        read_dimensions(value)
    return "\n".join(caught.value.faults)


def test_names_alone_are_sums_of_integers() -> None:
    assert read_dimensions("requests, gb_hours") == (Dimension(name="requests"), Dimension(name="gb_hours"))
    assert read_dimensions("requests")[0].aggregation is Aggregation.SUM


def test_a_json_list_and_a_yaml_list_are_read_alike() -> None:
    assert read_dimensions(json.dumps([FULL, "requests"])) == (GB, Dimension(name="requests"))
    assert read_dimensions([FULL, "requests"]) == (GB, Dimension(name="requests"))


def test_an_empty_list_is_no_metering_and_an_empty_text_a_fault() -> None:
    assert read_dimensions([]) == ()
    assert "empty" in faults("  ")


@pytest.mark.parametrize("scale", ["0.001", 0.001, "0.0010000"])
def test_a_scale_is_exact_however_it_is_written(scale: object) -> None:
    assert read_dimensions([{"name": "a", "scale": scale}])[0].scale == Decimal("0.001")


def test_a_scale_in_json_is_never_a_float() -> None:
    (read,) = read_dimensions('[{"name": "a", "scale": 0.1, "decimals": 1}]')
    assert read.scale == Decimal("0.1")
    assert str(read.scale) == "0.1"


@pytest.mark.parametrize(
    "scale",
    [0, "0", -1, "0.0000001", 1e-7, "abc", True, None, 10**9, float("nan"), float("inf"), "1e-3", 1e300],
)
def test_a_scale_that_cannot_multiply_is_refused(scale: object) -> None:
    assert "[0].scale" in faults([{"name": "a", "scale": scale}])


@pytest.mark.parametrize("decimals", [-1, 7, "x", True, 1.0, None])
def test_decimals_beyond_zero_to_six_are_refused(decimals: object) -> None:
    assert "[0].decimals" in faults([{"name": "a", "decimals": decimals}])


@pytest.mark.parametrize("kind", ["max", "last", "unique"])
def test_another_aggregation_than_sum_needs_a_scope_and_takes_no_tags(kind: str) -> None:
    assert "scope" in faults([{"name": "a", "aggregation": kind}])
    assert "tags" in faults([{"name": "a", "aggregation": kind, "scope": "pod", "tags": ["t"]}])
    (read,) = read_dimensions([{"name": "a", "aggregation": kind, "scope": "singleton"}])
    assert read.scope is Scope.SINGLETON


def test_a_sum_needs_no_scope() -> None:
    assert read_dimensions([{"name": "a", "aggregation": "sum"}])[0].scope is None


def test_as_many_dimensions_as_a_listing_has_and_no_more() -> None:
    names = [f"d{at}" for at in range(DIMENSIONS_MAX)]
    assert len(read_dimensions(names)) == DIMENSIONS_MAX
    assert "up to 24" in faults([*names, "one_more"])


def test_a_dimension_named_twice_is_refused() -> None:
    assert "twice" in faults("a,b,a")


@pytest.mark.parametrize("name", ["", " ", "x" * (NAME_MAX + 1), 7, None, True, "a\0b", "a\nb", "\ud800", "\x7f"])
def test_a_name_is_text_of_1_to_255_characters(name: object) -> None:
    assert "[0].name" in faults([{"name": name}])
    assert read_dimensions(["x" * NAME_MAX])
    assert read_dimensions(["Gäste – 客"])


def test_a_refused_name_can_be_written_to_any_terminal() -> None:
    assert faults([{"name": "\ud800"}]).encode("utf-8")


def test_a_scale_is_shown_as_it_may_be_given() -> None:
    given = read_dimensions('[{"name": "a", "scale": 1e3}, {"name": "b", "aggregation": "max", "scope": "pod"}]')
    assert '"scale": "1000"' in str(given[0])
    assert read_dimensions(f"[{given[0]}, {given[1]}]") == given


@pytest.mark.parametrize(
    "tags", ["tenant", ["a", "a"], ["a", "b", "c", "d", "e", "f"], [""], ["x" * 101], ["a*b"], ["ä"], [1], {"a": 1}]
)
def test_tag_keys_are_at_most_five_of_awss_characters(tags: object) -> None:
    assert "[0].tags" in faults([{"name": "a", "tags": tags}])
    assert read_dimensions([{"name": "a", "tags": ["a", "b b", "c-=._:/@+", "d", "x" * TAG_KEY_MAX]}])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([{"nam": "a"}], "is not a field"),
        ([{}], "name is missing"),
        ([7], "neither a name"),
        ([{"name": "a", "report_zero": "false"}], "not true or false"),
        ([{"name": "a", "aggregation": "mean"}], "sum, max, last, unique"),
        ([{"name": "a", "scope": "node"}], "pod, singleton"),
        ('[{"name": "a", "name": "b"}]', "twice"),
        ('[{"name": "a"', "not JSON"),
        ('{"name": "a"}', "not a list"),
        (7, "not a list"),
        (None, "not a list"),
        ("a,,b", "0 characters"),
    ],
)
def test_an_invalid_dimension_is_named(value: object, words: str) -> None:
    assert words in faults(value)


def test_every_fault_is_reported_at_once() -> None:
    said = faults([{"name": "a", "decimals": 9, "scale": -1}, {"name": "b", "x": 1}, "c", "c"])
    assert all(words in said for words in ("[0].decimals", "[0].scale", "[1].x", '"c" is named twice'))


def test_limits_are_those_of_the_service_model() -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    key, value, tags = (model.shape_for(name).metadata for name in ("TagKey", "TagValue", "TagList"))
    assert (key["max"], value["max"], tags["max"]) == (TAG_KEY_MAX, TAG_VALUE_MAX, TAG_KEYS_MAX)
    assert model.shape_for("UsageDimension").metadata["max"] == NAME_MAX


def test_no_accepted_tag_is_refused_by_the_service_model() -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    pattern = re.compile(model.shape_for("TagKey").metadata["pattern"])
    passing = [chr(at) for at in range(0x300) if TAG_CHARACTERS.fullmatch(chr(at))]
    assert len(passing) == 26 * 2 + 10 + len("+ -=._:/@")
    assert all(pattern.fullmatch(one) for one in passing)
