"""Whatever a line or an event holds, it is read, ignored or refused: nothing else is raised."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.audit.cloudtrail import parse_event
from sidecar.audit.exports import parse_line
from sidecar.audit.fields import hour_of, hour_start, micros, text
from sidecar.audit.input_files import Unreadable
from sidecar.audit.rows import Row
from sidecar.strict_json import JsonNumber, parse
from tests.unit.audit.support import HOUR
from tests.unit.audit.test_cloudtrail import EVENT, REQUEST
from tests.unit.audit.test_exports import EXPORTED

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=3)


def changed(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return documents in which some of the fields are something else."""
    return st.dictionaries(st.sampled_from(sorted(fields)), VALUES, max_size=3).map(lambda more: {**fields, **more})


@settings(max_examples=30, deadline=None)
@given(changed(EXPORTED))
@example({**EXPORTED, "dimension": "\ud800"})
@example({**EXPORTED, "hour": "9999-12-31T23:00:00Z"})
@example({**EXPORTED, "requests": [{"client_token": "t", "body": {"product_code": 7}}], "product_code": None})
def test_any_line_is_read_or_refused(fields: dict[str, Any]) -> None:
    with suppress(Unreadable):
        for found in parse_line(json.dumps(fields).encode() + b"\n", "o"):
            if isinstance(found, Row):
                "".join(str(one) for one in found).encode()


@settings(max_examples=30, deadline=None)
@given(changed(EVENT) | changed(REQUEST).map(lambda request: {**EVENT, "requestParameters": request}))
@example({**EVENT, "recipientAccountId": "\ud800"})
def test_any_event_is_read_or_refused(fields: dict[str, Any]) -> None:
    with suppress(Unreadable):
        found = parse_event(parse(json.dumps(fields)), "o")
        "".join(str(one) for one in found).encode()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda words: f'{{"record": {words}'.encode()))
def test_any_bytes_are_ignored_or_refused(line: bytes) -> None:
    with suppress(Unreadable):
        list(parse_line(line, "o"))


def test_a_whole_number_and_a_decimal_are_read_alike() -> None:
    assert micros("7", "q") == micros(JsonNumber("7"), "q") == micros("7.000000", "q") == 7_000_000
    assert micros("9999999999.999999", "q") == 9_999_999_999_999_999


def test_an_hour_is_the_same_in_each_form() -> None:
    assert hour_start("2025-11-24T16:00:00+00:00") == hour_of("Nov 24, 2025 4:30:00 PM") == HOUR
    assert hour_start("2025-11-24T17:00:00+01:00") == HOUR


@pytest.mark.parametrize("value", [None, 7, "", ["x"]])
def test_text_that_is_required_is_text(value: object) -> None:
    with pytest.raises(Unreadable, match="name"):
        text({"name": value}, "name")
