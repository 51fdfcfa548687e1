"""Which records share a call, and whose answer is whose."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sidecar.metering.batch_dispositions import NOT_ANSWERED, STATUS_UNKNOWN, TOO_BIG, UNPROCESSED
from sidecar.metering.outcomes import Refused, Settled, Unknown
from sidecar.metering.rollup import Allocation
from sidecar.saas.batches import BYTES_MAX, ENVELOPE_BYTES, Batch, outcomes, pack, size
from sidecar.saas.customers import CustomerKey
from sidecar.saas.records import CustomerRecord

from .support import PRODUCT, answer, answers, identified, key, licensed, sealed

WIDE = tuple(Allocation(tags=(("tenant", f"{n:0>200}"),), quantity=Decimal(0)) for n in range(1500))
"""Shares of about 400 kB."""


def products(customer: CustomerKey) -> str:
    return PRODUCT


def packed(*records: CustomerRecord) -> list[Batch]:
    return list(pack(records, products).batches)


def test_a_call_has_at_most_25_records_and_nothing_is_left_out() -> None:
    records = [sealed(licensed(n)) for n in range(60)]
    found = packed(*records)
    assert [len(batch.records) for batch in found] == [25, 25, 10]
    assert {one.name for batch in found for one in batch.records} == {one.name for one in records}


def test_a_call_is_smaller_than_a_megabyte() -> None:
    found = packed(*(sealed(licensed(n), allocations=WIDE) for n in range(5)))
    assert [len(batch.records) for batch in found] == [2, 2, 1]
    assert all(sum(map(size, batch.records)) + ENVELOPE_BYTES <= BYTES_MAX for batch in found)


def test_a_record_that_no_call_can_carry_is_not_sent() -> None:
    huge = sealed(allocations=WIDE + WIDE + WIDE)
    found = pack([huge, sealed(licensed(2))], products)
    assert found.refused == ((huge, Refused(code=TOO_BIG, sent=False)),)
    assert [len(batch.records) for batch in found.batches] == [1]


def test_a_product_code_and_a_license_are_never_in_one_call() -> None:
    found = packed(sealed(licensed()), sealed(identified()))
    requests = sorted((batch.request() for batch in found), key=lambda one: one.product_code or "")
    assert [request.product_code for request in requests] == [None, PRODUCT]
    assert [len(request.records) for request in requests] == [1, 1]


def test_licenses_of_two_products_are_two_calls() -> None:
    found = pack([sealed(licensed(1)), sealed(licensed(2))], lambda one: one.license_arn[-1]).batches
    assert [len(batch.records) for batch in found] == [1, 1]


def test_two_product_codes_are_two_calls() -> None:
    assert len(packed(sealed(identified(1, "prod1")), sealed(identified(1, "prod2")))) == 2


def test_two_regions_are_two_calls() -> None:
    assert len(packed(sealed(licensed(1)), sealed(licensed(2), region="eu-west-1"))) == 2


def test_the_oldest_hour_leaves_first() -> None:
    found = packed(sealed(identified(), hours_later=2), sealed(licensed(), hours_later=1), sealed(identified()))
    assert [[one.usage.hour.start.hour for one in batch.records] for batch in found] == [[10, 12], [11]]


def test_one_bad_record_of_25_stands_alone_after_five_halvings() -> None:
    records = [sealed(licensed(n)) for n in range(25)]
    for bad in records:
        (batch,) = packed(*records)
        levels = 0
        while halves := batch.halves():
            assert [one for half in halves for one in half.records] == list(batch.records)
            batch = next(half for half in halves if bad in half.records)
            levels += 1
        assert batch.records == (bad,)
        assert levels <= 5


def test_answers_are_matched_by_their_record_whatever_their_order() -> None:
    records = [sealed(licensed(n)) for n in range(3)]
    (batch,) = packed(*records)
    found = outcomes(batch, answers(*(answer(one, record_id=one.customer.license_arn) for one in reversed(records))))
    assert all(outcome == Settled(record_id=record.customer.license_arn) for record, outcome in found)


def test_an_answer_about_another_hour_answers_nothing() -> None:
    (batch,) = packed(sealed())
    other = answer(sealed(hours_later=1))
    assert outcomes(batch, answers(other))[0][1] == Unknown(code=NOT_ANSWERED)


@pytest.mark.parametrize(
    ("status", "record_id", "outcome"),
    [
        ("Success", "id-1", Settled(record_id="id-1")),
        ("Success", "", Unknown(code="record_id_missing")),
        ("CustomerNotSubscribed", "", Refused(code="CustomerNotSubscribed")),
        ("DuplicateRecord", "id-1", Refused(code="DuplicateRecord")),
        ("Accepted", "id-1", Unknown(code=STATUS_UNKNOWN)),
        ("", "id-1", Unknown(code=STATUS_UNKNOWN)),
    ],
)
def test_only_success_with_an_id_settles_a_first_attempt(status: str, record_id: str, outcome: object) -> None:
    (batch,) = packed(sealed())
    ((_, found),) = outcomes(batch, answers(answer(batch.records[0], status, record_id)))
    assert found == outcome


def test_an_unprocessed_record_was_not_billed() -> None:
    (batch,) = packed(sealed())
    assert outcomes(batch, answers(unprocessed=(key(batch.records[0]),)))[0][1] == Refused(code=UNPROCESSED)


def test_a_duplicate_of_our_own_lost_request_settles() -> None:
    (batch,) = packed(sealed(definite=False, attempts=1))
    assert outcomes(batch, answers(answer(batch.records[0], "DuplicateRecord")))[0][1] == Settled(record_id="id-1")


@pytest.mark.parametrize(
    "usage",
    [{}, {"attempts": 3, "last_error": UNPROCESSED}, {"definite": False, "last_error": "DuplicateRecord"}],
    ids=["first", "unprocessed-before", "disputed-before"],
)
def test_a_duplicate_that_no_lost_request_explains_is_disputed(usage: dict[str, object]) -> None:
    (batch,) = packed(sealed(**usage))
    ((_, found),) = outcomes(batch, answers(answer(batch.records[0], "DuplicateRecord")))
    assert found == Refused(code="DuplicateRecord")
