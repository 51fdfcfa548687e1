"""A product may report this; everything else is refused with a status, a reason and the event."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.metering.events import (
    BODY_BYTES_MAX,
    EVENTS_MAX,
    ID_MAX,
    REASONS,
    PushRefused,
    UsageEvent,
    content_digest,
    id_digest,
    key_digest,
    parse_events,
)
from sidecar.metering.quantities import Micros, micros_to_decimal, plain
from sidecar.settings.dimensions import Aggregation, Dimension, Scope

EVENT_MAX = 9_999_999_999_999_999
NOW = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
DIMENSIONS = {
    one.name: one
    for one in (
        Dimension(name="requests", tags=("tenant", "team")),
        Dimension(name="users", aggregation=Aggregation.UNIQUE, scope=Scope.POD),
        Dimension(name="seats", aggregation=Aggregation.MAX, scope=Scope.POD),
    )
}
GOOD = {"dimension": "requests", "quantity": 1}


def read(body: object) -> tuple[UsageEvent, ...] | PushRefused:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return parse_events(raw, DIMENSIONS, NOW)


def taken(body: object) -> tuple[UsageEvent, ...]:
    found = read(body)
    assert not isinstance(found, PushRefused), found
    return found


def refused(body: object) -> tuple[int, str, int | None]:
    found = read(body)
    assert isinstance(found, PushRefused)
    return found.status, found.reason, found.index


def event(**fields: object) -> dict[str, object]:
    return {**GOOD, **fields}


def test_one_event_alone_and_in_an_array_is_the_same() -> None:
    assert taken(GOOD) == taken([GOOD]) == (UsageEvent(dimension="requests", micros=Micros(1_000_000)),)


def test_everything_an_event_can_say_is_read() -> None:
    body = event(quantity="2.5", id="a-1", at="2026-11-20T11:00:00+01:00", tags={"team": "b", "tenant": "a"})
    assert taken(body) == (
        UsageEvent(
            dimension="requests",
            micros=Micros(2_500_000),
            id="a-1",
            at=datetime(2026, 11, 20, 10, tzinfo=UTC),
            tags=(("team", "b"), ("tenant", "a")),
        ),
    )
    assert taken({"dimension": "users", "quantity": 0, "key": "u1"})[0].key == "u1"


def test_events_keep_their_order() -> None:
    assert [one.micros for one in taken([event(quantity=at) for at in range(5)])] == [at * 10**6 for at in range(5)]


def test_a_number_is_never_read_through_a_float() -> None:
    (one,) = taken('{"dimension": "requests", "quantity": 9007199254.740993}')
    assert one.micros == 9_007_199_254_740_993
    (other,) = taken('{"dimension": "requests", "quantity": 1.0000000000000000000000000000}')
    assert other.micros == 1_000_000


@given(st.integers(0, EVENT_MAX))
def test_every_quantity_survives_as_number_and_as_text(micros: int) -> None:
    words = plain(micros_to_decimal(micros))
    assert taken(f'{{"dimension": "requests", "quantity": {words}}}')[0].micros == micros
    assert taken(f'{{"dimension": "requests", "quantity": "{words}"}}')[0].micros == micros


OF_THE_LEDGER = {"hour_sealed", "too_many_tag_sets", "too_many_keys"}
"""Reasons that need what is on disk."""

TAGGED = '{"dimension": "requests", "quantity": 1, "tags": {"team": "a", "team": "b"}}'
REFUSALS: list[tuple[object, int, str, int | None]] = [
    (b" " * (BODY_BYTES_MAX + 1), 413, "body_too_large", None),
    ([GOOD] * (EVENTS_MAX + 1), 413, "too_many_events", None),
    ("", 400, "body_malformed", None),
    ("{", 400, "body_malformed", None),
    ("[" * 200_000, 400, "body_malformed", None),
    (b"\xff\xfe{\x00}\x00", 400, "body_malformed", None),
    (b"\xff", 400, "body_malformed", None),
    ("7", 400, "body_malformed", None),
    ('"x"', 400, "body_malformed", None),
    ("null", 400, "body_malformed", None),
    ([], 400, "no_events", None),
    ([GOOD, 7], 400, "event_malformed", 1),
    ([[GOOD]], 400, "event_malformed", 0),
    ('{"dimension": "requests", "quantity": 1, "quantity": 1}', 400, "event_malformed", 0),
    (event(quantitty=1), 400, "field_unknown", 0),
    ({}, 400, "field_missing", 0),
    ({"dimension": "requests"}, 400, "field_missing", 0),
    ({"quantity": 1}, 400, "field_missing", 0),
    (event(quantity=True), 400, "quantity_malformed", 0),
    (event(quantity=None), 400, "quantity_malformed", 0),
    (event(quantity="1e3"), 400, "quantity_malformed", 0),
    (event(quantity="-1"), 400, "quantity_malformed", 0),
    ('{"dimension": "requests", "quantity": NaN}', 400, "quantity_malformed", 0),
    ('{"dimension": "requests", "quantity": Infinity}', 400, "quantity_malformed", 0),
    (event(dimension=5), 400, "dimension_malformed", 0),
    (event(dimension=None), 400, "dimension_malformed", 0),
    (event(id=7), 400, "id_malformed", 0),
    (event(id=None), 400, "id_malformed", 0),
    (event(id="\ud800"), 400, "id_malformed", 0),
    (event(at="2026-11-20T10:00:00"), 400, "at_malformed", 0),
    (event(at=True), 400, "at_malformed", 0),
    (event(at=None), 400, "at_malformed", 0),
    (event(tags=[]), 400, "tags_malformed", 0),
    (event(tags={"team": 1}), 400, "tags_malformed", 0),
    (event(tags={"team": None}), 400, "tags_malformed", 0),
    (TAGGED, 400, "tags_malformed", 0),
    (event(key=1), 400, "key_malformed", 0),
    (event(dimension="reqests"), 404, "dimension_unknown", 0),
    (event(dimension=""), 404, "dimension_unknown", 0),
    (event(quantity=-1), 422, "quantity_out_of_range", 0),
    (event(quantity="0.0000001"), 422, "quantity_out_of_range", 0),
    (event(quantity="10000000000"), 422, "quantity_out_of_range", 0),
    ('{"dimension": "requests", "quantity": 1e999999999999999999999}', 422, "quantity_out_of_range", 0),
    (event(id=""), 422, "id_out_of_range", 0),
    (event(id="x" * 129), 422, "id_out_of_range", 0),
    (event(at="9999-12-31T23:59:59-10:00"), 422, "at_out_of_range", 0),
    (event(at=1e30), 422, "at_out_of_range", 0),
    (event(at="2026-11-20T10:20:00.000001Z"), 422, "at_in_future", 0),
    (event(at=1795169700000), 422, "at_out_of_range", 0),
    (event(tags={"region": "a"}), 422, "tag_not_allowed", 0),
    ({"dimension": "seats", "quantity": 1, "tags": {"team": "a"}}, 422, "tag_not_allowed", 0),
    (event(tags={"team": ""}), 422, "tag_out_of_range", 0),
    (event(tags={"team": "x" * 257}), 422, "tag_out_of_range", 0),
    (event(tags={"team": "a*b"}), 422, "tag_out_of_range", 0),
    ({"dimension": "users", "quantity": 1}, 422, "key_required", 0),
    (event(key="u"), 422, "key_not_allowed", 0),
    ({"dimension": "users", "quantity": 1, "key": ""}, 422, "key_out_of_range", 0),
    ({"dimension": "users", "quantity": 1, "key": "x" * 257}, 422, "key_out_of_range", 0),
]


@pytest.mark.parametrize(("body", "status", "reason", "index"), REFUSALS, ids=lambda value: str(value)[:40])
def test_what_is_wrong_has_its_status_reason_and_index(
    body: object, status: int, reason: str, index: int | None
) -> None:
    assert refused(body) == (status, reason, index)


def test_every_reason_has_a_case() -> None:
    assert {reason for _, _, reason, _ in REFUSALS} == set(REASONS) - OF_THE_LEDGER
    assert all(REASONS[reason] == status for _, status, reason, _ in REFUSALS)


@pytest.mark.parametrize(
    "body",
    [
        [GOOD] * EVENTS_MAX,
        event(id="x" * 128),
        event(id="ünï\u0000"),
        event(at="2026-11-20T10:20:00Z"),
        event(at=0),
        event(tags={}),
        event(tags={"team": "x" * 256}),
        event(tags={"team": "a B+-=._:/@9"}),
        event(quantity="9999999999.999999"),
        {"dimension": "users", "quantity": 1, "key": "x" * 256},
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_just_allowed_is_taken(body: object) -> None:
    assert taken(body)


def test_refusals_come_in_the_order_of_the_contract_over_all_events() -> None:
    range_, unknown, malformed = event(quantity=-1), event(dimension="x"), event(quantity=True)
    assert refused([range_, unknown, malformed]) == (400, "quantity_malformed", 2)
    assert refused([range_, unknown]) == (404, "dimension_unknown", 1)
    assert refused([GOOD, range_, event(quantity=-2)]) == (422, "quantity_out_of_range", 1)
    assert refused([malformed] * (EVENTS_MAX + 1))[:2] == (413, "too_many_events")
    assert refused(b"{" * (BODY_BYTES_MAX + 1))[:2] == (413, "body_too_large")


def test_the_order_holds_within_one_event_too() -> None:
    assert refused(event(dimension="x", quantity=-1, id="", at="2099-01-01T00:00:00Z"))[0] == 404
    assert refused(event(dimension="x", quantity="1e1", id=""))[0] == 400
    assert refused('{"dimension": "x", "quantity": 1e99999999999999999999}')[0] == 404


VALUES: dict[str, tuple[object, ...]] = {
    "dimension": ("requests", "users", "seats", "other", "", 5, None, ["requests"], {"a": 1}),
    "quantity": (1, "2.5", "1", True, -1, 10**10, "x", None, [1], 0.5),
    "id": ("a", "", "x" * ID_MAX, "x" * (ID_MAX + 1), "ä", "\ud800", 7, None, ["a"]),
    "tags": (
        {}, {"tenant": "a"}, {"tenant": "a", "team": "b"}, {"team": "b", "tenant": "a"}, {"other": "a"},
        {"tenant": ""}, {"tenant": 5}, {"tenant": ["a"]}, {"tenant": "x" * 300}, {"tenant": "é"}, [], "a", None,
    ),
}  # fmt: skip


def test_events_of_the_usual_fields_are_judged_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a shorter way: each combination of values has the same result on the longer one."""
    bodies = [dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())]
    usual = [read(body) for body in bodies * 2]
    monkeypatch.setattr("sidecar.metering.events.COMMON_FIELDS", frozenset())
    assert usual == [read(body) for body in bodies] * 2
    assert sum(isinstance(one, tuple) for one in usual) > 100


def test_an_unknown_dimension_is_told_which_there_are() -> None:
    found = read(event(dimension="reqests"))
    assert isinstance(found, PushRefused)
    assert 'dimension "reqests" is not one of the product\'s: requests' in found.detail


def test_all_or_nothing() -> None:
    assert isinstance(read([GOOD, GOOD, event(quantity=-1)]), PushRefused)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case[2])
def test_a_refusal_of_an_event_names_its_index_and_field(case: tuple[object, int, str, int | None]) -> None:
    found = read(case[0])
    assert isinstance(found, PushRefused)
    assert len(found.detail) < 400
    if found.index is not None:
        assert found.detail.startswith(f"Event {found.index}: ")
        field = found.reason.partition("_")[0]
        assert field in ("event", "field") or field in found.detail


def test_a_detail_names_field_value_and_rule() -> None:
    found = read([GOOD, event(quantity="10000000000")])
    assert isinstance(found, PushRefused)
    assert found.detail == 'Event 1: quantity "10000000000" is more than 9999999999.999999.'


def test_the_same_content_has_one_digest_however_it_was_written() -> None:
    bodies = [
        event(quantity=5, at="2026-11-20T10:00:00Z", tags={"team": "a", "tenant": "b"}),
        event(quantity="5.0", at="2026-11-20T11:00:00+01:00", tags={"tenant": "b", "team": "a"}, id="x"),
    ]
    assert len({content_digest(taken(body)[0]) for body in bodies}) == 1


def test_any_other_content_has_another_digest() -> None:
    bodies: list[dict[str, object]] = [
        event(),
        event(quantity=2),
        event(at="2026-11-20T10:00:00Z"),
        event(at="2026-11-20T10:00:01Z"),
        event(tags={"team": "a"}),
        event(tags={"tenant": "a"}),
        {"dimension": "seats", "quantity": 1},
        {"dimension": "users", "quantity": 1, "key": "a"},
        {"dimension": "users", "quantity": 1, "key": "b"},
    ]
    assert len({content_digest(taken(body)[0]) for body in bodies}) == len(bodies)


def test_digests_have_128_bits_and_their_own_domains() -> None:
    assert len(content_digest(taken(GOOD)[0])) == len(id_digest("a")) == len(key_digest("a")) == 16
    assert id_digest("a") != key_digest("a")
    assert id_digest("a") == id_digest("a") != id_digest("b")


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(parse_events(body, DIMENSIONS, NOW), tuple | PushRefused)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.sampled_from(["dimension", "quantity", "id", "at", "tags", "key"]), JSON)))
def test_no_fields_raise(body: object) -> None:
    assert isinstance(read(body), tuple | PushRefused)


def test_an_event_of_the_past_is_taken_however_old() -> None:
    (one,) = taken(event(at=0))
    assert one.at == NOW - timedelta(seconds=1795169700)
