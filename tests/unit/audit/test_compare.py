"""One hour and dimension: each difference is named, and nothing else is."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.audit.compare import compare_hour
from sidecar.audit.rows import Difference, Kind, Row
from tests.unit.audit.support import MICROS, billed, ours, waiting


def found(*rows: Row) -> list[Difference]:
    result = compare_hour(rows)
    return result.differences + result.waiting


def kinds(*rows: Row) -> list[Kind]:
    return [one.kind for one in found(*rows)]


def test_equal_records_make_no_difference() -> None:
    assert found(ours("a", 1), ours("b", 2), billed("b", 2), billed("a", 1)) == []


def test_what_no_export_has_is_billed_and_unknown() -> None:
    (one,) = found(ours("a"), billed("a"), billed("b", 9))
    assert (one.kind, one.record_id, one.ours, one.billed) == (Kind.BILLED_UNKNOWN, "b", None, 9 * MICROS)


def test_what_aws_does_not_have_is_not_billed() -> None:
    (one,) = found(ours("a", 4), ours("b"), billed("b"))
    assert (one.kind, one.record_id, one.ours, one.billed) == (Kind.NOT_BILLED, "a", 4 * MICROS, None)
    assert one.workload == "pod-a"


def test_another_quantity_under_the_same_record_id_is_named() -> None:
    (one,) = found(ours("a", 4), billed("a", 5))
    assert (one.kind, one.ours, one.billed) == (Kind.OTHER_QUANTITY, 4 * MICROS, 5 * MICROS)
    assert one.origins == ("export:a", "event:a")


def test_two_events_with_one_record_id_are_one_billing() -> None:
    assert found(ours("a"), billed("a"), billed("a", origin="event:later")) == []


def test_the_same_quantity_under_a_second_record_id_is_billed_twice() -> None:
    (one,) = found(ours("a"), billed("a"), billed("again"))
    assert (one.kind, one.record_id, one.excess) == (Kind.BILLED_TWICE, "again", 7 * MICROS)


def test_a_second_pod_with_the_same_quantity_is_not_billed_twice() -> None:
    assert found(ours("a"), ours("b"), billed("a"), billed("b")) == []


def test_a_rolled_forward_record_that_aws_billed_is_billed_twice() -> None:
    (one,) = found(waiting("rolled_forward"), billed("late"))
    assert (one.kind, one.state, one.workload) == (Kind.BILLED_TWICE, "rolled_forward", "pod-w-1")


def test_a_rolled_forward_record_that_aws_did_not_bill_makes_no_difference() -> None:
    assert found(waiting("rolled_forward"), ours("a", 3), billed("a", 3)) == []


@pytest.mark.parametrize("state", ["sealed", "rejected", "expired"])
def test_a_billed_record_that_is_not_settled_is_unknown_with_its_state(state: str) -> None:
    (one,) = found(waiting(state), billed("late"))
    assert (one.kind, one.state, one.ours) == (Kind.BILLED_UNKNOWN, state, None)
    assert one.note


@pytest.mark.parametrize("state", ["sealed", "rejected", "expired", "disputed"])
def test_usage_that_waits_and_is_not_billed_is_a_difference(state: str) -> None:
    (one,) = found(waiting(state), ours("a"), billed("a"))
    assert (one.kind, one.state, one.ours, one.billed) == (Kind.NOT_BILLED, state, 7 * MICROS, None)
    assert (one.workload, one.excess) == ("pod-w-1", -7 * MICROS)
    assert one.note


@pytest.mark.parametrize("state", ["sealed", "rejected", "expired", "disputed"])
def test_an_older_line_about_a_settled_record_is_no_difference(state: str) -> None:
    logged = ours("a", tokens="", workload="pod-w-1")
    assert found(waiting(state), logged, billed("a")) == []
    assert found(waiting(state, tokens=""), ours("a"), billed("a")) == []
    assert found(waiting(state, quantity=0)) == []


def test_a_disputed_record_shows_the_quantity_that_aws_holds() -> None:
    (one,) = found(waiting("disputed", quantity=7), billed("theirs", 5))
    assert (one.kind, one.ours, one.billed) == (Kind.OTHER_QUANTITY, 7 * MICROS, 5 * MICROS)


def test_without_a_record_id_the_quantity_decides() -> None:
    assert found(ours("a", 3), ours("b", 4), billed("", 4, origin="1"), billed("", 3, origin="2")) == []
    assert kinds(ours("a", 3), billed("", 4)) == [Kind.BILLED_UNKNOWN, Kind.NOT_BILLED]


def test_an_accepted_quantity_belongs_to_the_billing_that_was_accepted() -> None:
    assert found(ours("", 5, tokens="t"), billed("theirs", 5)) == []
    assert kinds(ours("", 5, tokens="t"), billed("theirs", 6)) == [Kind.BILLED_UNKNOWN, Kind.NOT_BILLED]


def test_a_client_token_decides_before_the_quantity() -> None:
    assert kinds(ours("a", 3), billed("x", 4, tokens="token-a")) == [Kind.OTHER_QUANTITY]
    assert kinds(ours("a", 3), billed("a", 3), billed("x", 3, tokens="token-a")) == [Kind.BILLED_TWICE]
    assert kinds(waiting("rolled_forward"), billed("x", 7, tokens="token-w-1")) == [Kind.BILLED_TWICE]


def test_a_record_of_another_product_or_region_is_no_partner() -> None:
    assert kinds(ours("a"), billed("", product="other")) == [Kind.BILLED_UNKNOWN, Kind.NOT_BILLED]
    assert kinds(ours("a"), billed("", region="eu-west-1")) == [Kind.BILLED_UNKNOWN, Kind.NOT_BILLED]
    assert kinds(ours("a", region=""), billed("", region="eu-west-1")) == []


def test_a_quantity_of_zero_costs_nothing() -> None:
    assert found(ours("a", 0), billed("b", 0)) == []
    assert found(ours("a", 0)) == []
    assert found(billed("a", 0)) == []


def test_without_data_of_aws_only_contradictions_are_found() -> None:
    assert compare_hour([ours("a")], against_billed=False).differences == []
    rows = [ours("a", 1), ours("a", 2)]
    assert [one.kind for one in compare_hour(rows, against_billed=False).differences] == [Kind.CONTRADICTION]


def test_a_contradiction_is_named_once_and_not_compared() -> None:
    assert kinds(ours("a", 1), ours("a", 2), billed("a", 3)) == [Kind.CONTRADICTION]
    assert kinds(ours("a", 1), billed("a", 1), billed("a", 3)) == [Kind.CONTRADICTION]


FAULTS = ("equal", "unknown", "unbilled", "other", "twice", "rolled", "repeated", "contradiction")
EXPECTED = {
    "unknown": Kind.BILLED_UNKNOWN,
    "unbilled": Kind.NOT_BILLED,
    "other": Kind.OTHER_QUANTITY,
    "twice": Kind.BILLED_TWICE,
    "rolled": Kind.BILLED_TWICE,
    "contradiction": Kind.CONTRADICTION,
}


def injected(number: int, fault: str) -> list[Row]:
    """Return the rows of one record with one fault; its quantity is no other's."""
    name, quantity = f"r{number}", (number + 1) * 10
    exported, event = ours(name, quantity), billed(name, quantity)
    return {
        "equal": [exported, event],
        "unknown": [event],
        "unbilled": [exported],
        "other": [exported, billed(name, quantity + 1)],
        "twice": [exported, event, billed(f"{name}-again", quantity)],
        "rolled": [waiting("rolled_forward", name, quantity), event],
        "repeated": [exported, exported._replace(origin="later", tokens=""), event, event],
        "contradiction": [exported, ours(name, quantity + 2, origin="later"), event],
    }[fault]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(FAULTS), max_size=12), st.randoms(use_true_random=False))
def test_injected_differences_are_found_exactly(faults: list[str], chance: random.Random) -> None:
    rows = [row for number, fault in enumerate(faults) for row in injected(number, fault)]
    chance.shuffle(rows)
    expected = Counter(EXPECTED[fault] for fault in faults if fault in EXPECTED)
    assert Counter(kinds(*rows)) == expected


def test_a_large_hour_without_half_of_its_exports_takes_no_quadratic_time() -> None:
    pods = 4000
    rows = [row for pod in range(pods) for row in (ours(f"a{pod}", pod + 1), billed(f"a{pod}", pod + 1))]
    rows += [billed(f"b{pod}", pods + pod + 1) for pod in range(pods)]
    rows += [ours(f"c{pod}", 3 * pods + pod) for pod in range(pods)]
    begun = time.process_time()
    assert Counter(kinds(*rows)) == {Kind.BILLED_UNKNOWN: pods, Kind.NOT_BILLED: pods}
    assert time.process_time() - begun < 5, "all pairs would be 16 million comparisons"
