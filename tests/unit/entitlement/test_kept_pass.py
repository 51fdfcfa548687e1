"""A kept pass speaks for the workload, product and dimensions it names, and for nothing else."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from sidecar.entitlement.kept_pass import FORMAT, Kind, from_text, passed, settled, verify_kept
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.errors import TokenRejected

POD: Final = WorkloadId("pod-1")
OTHER: Final = WorkloadId("pod-2")
PRODUCT: Final = ProductCode("prod1")
BOTH: Final = ("requests", "gb_hours")
TEXT: Final = passed(Kind.DRY_RUN, POD, PRODUCT, BOTH).as_text()


def why_not(text: str, workload: WorkloadId = POD, product: str = PRODUCT, dimensions: Any = BOTH) -> str | None:
    """None where it opens."""
    try:
        verify_kept(from_text(text), workload, ProductCode(product), dimensions)
    except TokenRejected as exc:
        return exc.reason
    return None


def edited(**changed: object) -> str:
    return json.dumps({**json.loads(TEXT), **changed})


@pytest.mark.parametrize("kind", Kind)
def test_a_pass_opens_for_the_workload_product_and_dimensions_it_was_given_for(kind: Kind) -> None:
    assert why_not(passed(kind, POD, PRODUCT, BOTH).as_text()) is None


def test_the_order_of_dimensions_does_not_matter() -> None:
    assert why_not(TEXT, dimensions=tuple(reversed(BOTH))) is None


def test_another_workload_is_not_let_in() -> None:
    assert why_not(TEXT, workload=OTHER) == "kept_other_workload"


def test_another_product_is_not_let_in_even_where_the_file_is_relabelled() -> None:
    assert why_not(TEXT, product="prod2") == "kept_other_product"
    assert why_not(edited(product_code="prod2"), product="prod2") == "kept_other_workload"


def test_a_new_dimension_was_never_asked_about() -> None:
    assert why_not(TEXT, dimensions=(*BOTH, "seats")) == "kept_other_dimensions"
    assert why_not(edited(dimensions=[*BOTH, "seats"]), dimensions=(*BOTH, "seats")) == "kept_other_workload"


def test_a_dimension_that_is_set_no_more_does_no_harm() -> None:
    assert why_not(TEXT, dimensions=("requests",)) is None


def test_a_dry_run_cannot_be_passed_off_as_a_settled_record() -> None:
    assert why_not(edited(kind="settled")) == "kept_other_workload"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        edited(format=FORMAT + 1),
        edited(kind="promise"),
        edited(kind=None),
        edited(kind=["dry_run"]),
        edited(dimensions=None),
        edited(dimensions=[1]),
        edited(product_code=7),
        edited(binding=None),
        edited(extra="x"),
        '{"format": 1, "product_code": "prod1", "public_key_version": 1, "nonce": "n", "token": "t"}',
    ],
)
def test_what_is_no_pass_opens_nothing(text: str) -> None:
    assert why_not(text) == "kept_unreadable"


@pytest.mark.parametrize("binding", ["", "0" * 64, "\ud800", "é"])
def test_another_binding_opens_nothing(binding: str) -> None:
    assert why_not(edited(binding=binding)) == "kept_other_workload"


def test_it_lies_on_disk_as_one_line_and_comes_back_the_same() -> None:
    assert TEXT.count("\n") == 1
    assert TEXT.endswith("\n")
    assert from_text(TEXT).as_text() == TEXT
    assert POD not in TEXT, "the workload is only there as a digest"


# -- a real record -----------------------------------------------------------------------------------


def test_a_settled_record_opens_for_its_dimension() -> None:
    text = settled(None, POD, PRODUCT, ["requests"])
    assert text is not None
    assert from_text(text).kind is Kind.SETTLED
    assert why_not(text, dimensions=("requests",)) is None
    assert why_not(text) == "kept_other_dimensions"


def test_it_adds_to_what_a_dry_run_passed() -> None:
    text = settled(TEXT, POD, PRODUCT, ["seats"])
    assert text is not None
    assert why_not(text, dimensions=(*BOTH, "seats")) is None


@pytest.mark.parametrize(
    "before",
    [
        "garbage",
        passed(Kind.DRY_RUN, OTHER, PRODUCT, BOTH).as_text(),
        passed(Kind.DRY_RUN, POD, ProductCode("prod2"), BOTH).as_text(),
    ],
)
def test_it_adds_nothing_that_was_not_this_workloads_own(before: str) -> None:
    text = settled(before, POD, PRODUCT, ["seats"])
    assert text is not None
    assert from_text(text).dimensions == ("seats",)


def test_what_the_file_says_already_is_not_written_again() -> None:
    text = settled(TEXT, POD, PRODUCT, ["requests"])
    assert text is not None, "a record says more than a dry run"
    assert settled(text, POD, PRODUCT, ["requests"]) is None
    assert settled(text, POD, PRODUCT, ["seats"]) is not None
