"""A body of usage events with customers: which refusal comes first, and what is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.metering.events import PushRefused
from sidecar.saas.customer_events import BadReference, read_events, read_reference
from sidecar.saas.customers import CustomerKey, Reference
from sidecar.settings import Dimension
from sidecar.strict_json import parse

from .support import licensed

NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
GOOD = {"customer": {"license_arn": "l-1"}, "dimension": "requests", "quantity": 1}
UNKNOWN = {**GOOD, "customer": {"license_arn": "l-9"}}
AMBIGUOUS = {**GOOD, "customer": {"aws_account_id": "1"}}


def find(reference: Reference) -> CustomerKey | str:
    if reference.aws_account_id:
        return "customer_ambiguous"
    return licensed() if reference.license_arn == "l-1" else "customer_unknown"


def read(*events: Any) -> Any:
    return read_events(json.dumps(events).encode(), {"requests": Dimension(name="requests")}, NOW, find)


def test_events_are_read_with_their_customers() -> None:
    (one,) = read({**GOOD, "id": "a"})
    assert (one.customer, one.event.id, one.event.micros) == (licensed(), "a", 1_000_000)


@pytest.mark.parametrize(
    ("events", "reason", "index"),
    [
        ([GOOD, {"dimension": "requests", "quantity": 1}], "customer_missing", 1),
        ([GOOD, {**GOOD, "customer": "l-1"}], "customer_malformed", 1),
        ([GOOD, {**GOOD, "customer": {}}], "customer_malformed", 1),
        ([UNKNOWN, {**GOOD, "quantity": "x"}], "quantity_malformed", 1),
        ([{**GOOD, "quantity": -1}, UNKNOWN], "customer_unknown", 1),
        ([UNKNOWN, {**GOOD, "dimension": "seats"}], "customer_unknown", 0),
        ([{**GOOD, "dimension": "seats"}, UNKNOWN], "dimension_unknown", 0),
        ([AMBIGUOUS], "customer_ambiguous", 0),
        ([{**GOOD, "quantity": -1}, AMBIGUOUS], "quantity_out_of_range", 0),
        ([{**GOOD, "seller": "x"}], "field_unknown", 0),
        ([3], "event_malformed", 0),
    ],
)
def test_the_lowest_status_counts_and_of_equal_ones_the_first(events: list[Any], reason: str, index: int) -> None:
    found = read(*events)
    assert isinstance(found, PushRefused)
    assert (found.reason, found.index) == (reason, index)


def test_a_refusal_repeats_every_name_that_was_given() -> None:
    found = read_events(
        json.dumps([{**GOOD, "customer": {"license_arn": "l-1", "aws_account_id": "9"}}]).encode(),
        {"requests": Dimension(name="requests")},
        NOW,
        lambda _: "customer_unknown",
    )
    assert isinstance(found, PushRefused)
    assert found.detail.startswith('Event 0: customer "l-1" with "9": ')
    assert "each must be this customer's" in found.detail


def test_nothing_is_looked_up_for_a_body_that_is_malformed() -> None:
    def never(reference: Reference) -> CustomerKey | str:
        raise AssertionError(reference)

    body = json.dumps([UNKNOWN, {**GOOD, "customer": 3}]).encode()
    assert isinstance(read_events(body, {}, NOW, never), PushRefused)


@pytest.mark.parametrize("text", ['"x"', "{}", '{"license": "x"}', '{"license_arn": 3}', '{"license_arn": ""}'])
def test_a_reference_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadReference):
        read_reference(parse(text))
