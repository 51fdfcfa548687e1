"""JSON is read as it was written."""

from __future__ import annotations

import json
import re
import time

import pytest

from sidecar.strict_json import SHOWN_MAX, Constant, JsonNumber, Repeated, parse, shown


def test_numbers_keep_their_text() -> None:
    assert parse("[1, 1.0, 1e2, -0]") == [JsonNumber("1"), JsonNumber("1.0"), JsonNumber("1e2"), JsonNumber("-0")]


def test_a_number_is_no_text() -> None:
    assert not isinstance(parse("1"), str)


def test_one_byte_order_mark_before_a_document_is_ignored() -> None:
    assert parse('\ufeff["\ufeff"]') == ["\ufeff"]


@pytest.mark.parametrize("text", ["{}", " {}", "{} ", "\r\n\t {}\t \n\r"])
def test_white_space_around_a_document_is_ignored(text: str) -> None:
    assert parse(text) == {}


@pytest.mark.parametrize(
    "text", ["{} x", "{}{}", " {} {}", "\n", "", "{}\x0b", "{}\u00a0", "\u00a0{}", "[1]\n,", " nul"]
)
def test_a_fault_is_named_where_json_finds_it(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as wanted:
        json.loads(text)
    with pytest.raises(ValueError, match=re.escape(f"{wanted.value.msg} at character {wanted.value.pos}.")):
        parse(text)


def test_a_name_given_twice_is_seen_and_a_name_in_two_objects_is_not_one() -> None:
    assert parse('{"a": 1, "b": 2, "b": 2}') == Repeated("b")
    assert isinstance(parse('[{"a": 1}, {"a": 2}]'), list)


def test_a_repeated_name_behind_very_many_others_is_found_in_no_time() -> None:
    """A client that may push cannot keep a thread busy for a minute with one body."""
    names = ", ".join(f'"{number}": 0' for number in range(60_000))
    began = time.process_time()
    assert parse("{" + names + ', "59999": 0}') == Repeated("59999")
    assert time.process_time() - began < 2


def test_what_json_does_not_know_is_no_number() -> None:
    assert parse("[NaN, Infinity, -Infinity]") == [Constant("NaN"), Constant("Infinity"), Constant("-Infinity")]


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "{'a': 1}", "[" * 100_000, "01", "1 2", "\ufeff\ufeff{}", "{}\ufeff", "\ufeff", '"\n"']
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (JsonNumber("1.50"), "1.50"),
        (None, "null"),
        (True, "true"),
        ("a\nb", '"a\\nb"'),
        ({}, "an object"),
        ([], "an array"),
        (Repeated("x"), 'an object that gives "x" twice'),
        (Constant("NaN"), "NaN"),
        (1.5, "1.5"),
    ],
)
def test_values_are_shown_as_their_sender_wrote_them(value: object, words: str) -> None:
    assert shown(value) == words


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 10_000)) < SHOWN_MAX + 5
    assert len(shown(JsonNumber("9" * 10_000))) < SHOWN_MAX + 5
