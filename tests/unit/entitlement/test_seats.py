"""Held seats are kept whole, for one workload and product, and their tokens are never shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.entitlement.contract import CheckedOut, Entitlement
from sidecar.entitlement.seats import ASSUMED_LIFE, HeldSeat, as_text, from_text
from sidecar.quick_dataclasses import replace
from sidecar.settings import License, Take

NOW = datetime(2026, 11, 28, 21, tzinfo=UTC)
SEATS = License(name="seats", value="2", take=Take.SEAT)
OUT = CheckedOut(
    allowed=(Entitlement(name="seats", unit="Count", value="2"),),
    consumption_token="opaque-token",
    expires_at=NOW + timedelta(hours=1),
    license_arn="arn:aws:license-manager::294406891311:license:l-0",
    region="us-east-1",
    request_id="r",
)
HELD = HeldSeat.of(SEATS, OUT, NOW)


def test_a_seat_is_what_was_checked_out() -> None:
    assert (HELD.name, HELD.value, HELD.expires_at, HELD.region) == ("seats", "2", OUT.expires_at, "us-east-1")
    assert HELD.is_of(SEATS)
    assert not HELD.is_of(replace(SEATS, value="1"))


def test_a_seat_whose_end_cannot_be_read_is_extended_early() -> None:
    assert HeldSeat.of(SEATS, replace(OUT, expires_at=None), NOW).expires_at == NOW + ASSUMED_LIFE


def test_the_token_of_a_seat_is_not_shown() -> None:
    assert "opaque-token" not in repr(HELD)
    assert "opaque-token" not in repr((OUT, [HELD]))


def test_seats_are_read_as_they_were_written() -> None:
    assert from_text(as_text([HELD], "pod", "prod-a"), "pod", "prod-a") == (HELD,)
    assert from_text(as_text([], "pod", "prod-a"), "pod", "prod-a") == ()


@pytest.mark.parametrize(("workload", "sku"), [("other", "prod-a"), ("pod", "prod-b")])
def test_seats_of_another_workload_or_product_are_none(workload: str, sku: str) -> None:
    assert from_text(as_text([HELD], "pod", "prod-a"), workload, sku) == ()


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '{"format": 1}', "[" * 9999])
def test_a_file_that_is_no_list_of_seats_has_none(text: str | None) -> None:
    assert from_text(text, "pod", "prod-a") == ()


@pytest.mark.parametrize("broken", [{"name": 7}, {"expires_at": "soon"}, {"taken_at": None}], ids=str)
def test_a_seat_with_a_broken_field_is_none(broken: dict[str, object]) -> None:
    said = json.loads(as_text([HELD], "pod", "prod-a"))
    said["held"][0] |= broken
    assert from_text(json.dumps(said), "pod", "prod-a") == ()
    said["held"] = [{}]
    assert from_text(json.dumps(said), "pod", "prod-a") == ()
