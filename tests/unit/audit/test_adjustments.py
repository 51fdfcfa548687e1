"""The draft of billing adjustments: AWS's fields, exact amounts, what is unknown is null."""

from __future__ import annotations

import json
import re
from typing import Any

import botocore.session
import pytest

from sidecar.audit.adjustments import ENTRIES, OPERATION, REASON, UNKNOWN, draft
from sidecar.audit.days import DayBilled, DayKey, compare_day
from sidecar.audit.overbilled import Overbilled, overbilled_by_day, overbilled_by_hour
from sidecar.audit.rows import Kind, hour_difference
from tests.unit.audit.support import MICROS, billed

PRICE = {"agreement": "agmt-1", "currency": "USD", "rate": "0.500000"}


def over(micros: int = 3 * MICROS, **more: str) -> Overbilled:
    values = dict.fromkeys(Overbilled._fields, "")
    given = {"month": "2025-11", "when": "2025-11-24", "dimension": "requests", "kind": "other_quantity"}
    return Overbilled(**{**values, **given, **PRICE, "micros": str(micros), **more})


def entries(*rows: Overbilled) -> list[dict[str, Any]]:
    document: Any = draft(rows)
    return list(document["request"][ENTRIES])


def shape() -> Any:
    model = botocore.session.get_session().get_service_model("marketplace-agreement")
    return model.operation_model(OPERATION).input_shape


def test_an_entry_has_the_fields_of_awss_model() -> None:
    assert list(shape().members) == [ENTRIES]
    entry = shape().members[ENTRIES].member
    (made,) = entries(over())
    assert set(made) == set(entry.members)
    assert set(UNKNOWN) <= set(entry.required_members)
    assert REASON in entry.members["adjustmentReasonCode"].enum


@pytest.mark.parametrize("name", ["adjustmentAmount", "clientToken", "currencyCode", "agreementId"])
def test_a_value_has_the_form_of_awss_model(name: str) -> None:
    member = shape().members[ENTRIES].member.members[name]
    (made,) = entries(over())
    assert re.fullmatch(member.metadata["pattern"], made[name])
    assert len(made[name]) <= member.metadata.get("max", 1024)


def test_the_amount_is_exact_and_cut_never_rounded_up() -> None:
    assert entries(over())[0]["adjustmentAmount"] == "1.5"
    assert entries(over(1_999_999, rate="0.000999"))[0]["adjustmentAmount"] == "0.00199799"


def test_one_entry_stands_for_an_invoice() -> None:
    rows = [over(), over(when="2025-11-25"), over(month="2025-12"), over(agreement="agmt-2"), over(account="1")]
    found = entries(*sorted(rows, key=lambda row: (row.month, row.account, row.agreement)))
    assert sorted(one["adjustmentAmount"] for one in found) == ["1.5", "1.5", "1.5", "3"]
    assert len({one["clientToken"] for one in found}) == 4


def test_the_same_findings_make_the_same_token_and_others_another() -> None:
    assert entries(over()) == entries(over())
    assert entries(over())[0]["clientToken"] != entries(over(4 * MICROS))[0]["clientToken"]


def test_what_is_unknown_is_null_and_explained() -> None:
    event = hour_difference(Kind.BILLED_UNKNOWN, billed("a", 4), billed=4 * MICROS)
    document: Any = draft([overbilled_by_hour(event)])
    (made,), (about,) = document["request"][ENTRIES], document["review"]
    empty = {name for name, value in made.items() if value is None}
    assert empty == {"agreementId", "originalInvoiceId", "adjustmentAmount", "currencyCode"} == set(about["missing"])
    assert about["findings"][0]["metering_record_id"] == "a"
    assert about["notes"]


def test_an_amount_without_a_price_is_null() -> None:
    for rate in ("", "x", "NaN", "-1"):
        assert entries(over(rate=rate))[0]["adjustmentAmount"] is None


def test_a_day_with_one_price_has_an_amount_and_one_with_two_has_none() -> None:
    day = DayBilled(key=DayKey("2025-11-24", "us-east-1", "requests"), micros=9 * MICROS, lines=1)
    difference = compare_day(day, None)
    assert difference is not None
    day.prices = {("agmt-1", "USD", "0.5"): 9 * MICROS}
    assert entries(overbilled_by_day(difference, day))[0]["adjustmentAmount"] == "4.5"
    day.prices[("agmt-2", "USD", "0.5")] = 0
    row = overbilled_by_day(difference, day)
    assert entries(row)[0]["adjustmentAmount"] is None
    assert "agmt-1, agmt-2" in row.note


def test_the_draft_says_that_nothing_was_sent() -> None:
    document = draft([])
    assert document["sent"] is False
    assert "Nothing was sent" in str(document["note"])
    json.dumps(document)


def test_many_findings_are_cut_and_counted() -> None:
    document: Any = draft([over(when=str(day)) for day in range(60)])
    (about,) = document["review"]
    assert (len(about["findings"]), about["findings_left_out"]) == (50, 10)
