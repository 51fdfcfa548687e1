"""The table of BatchMeterUsage's answers, compared with botocore's model."""

from __future__ import annotations

import botocore.session
import pytest

from sidecar.marketplace.resolve_customer import TABLE as RESOLVE_TABLE
from sidecar.metering import batch_dispositions, dispositions
from sidecar.metering.batch_dispositions import CALL_ROWS, ISOLATED_ROWS, RECORD_ROWS, TABLE, classify, isolates
from sidecar.metering.states import Disposition

MODEL = botocore.session.get_session().get_service_model("meteringmarketplace")
OF_CALL = ("InternalServiceErrorException", "ThrottlingException")
"""What the two operations share."""


def errors(operation: str) -> set[str]:
    return {shape.name for shape in MODEL.operation_model(operation).error_shapes}


def test_every_modelled_error_of_batch_meter_usage_has_a_row() -> None:
    assert errors("BatchMeterUsage") <= TABLE.keys() | set(OF_CALL)
    assert set(OF_CALL) <= dispositions.TABLE.keys()


def test_every_modelled_error_of_resolve_customer_has_a_row() -> None:
    assert errors("ResolveCustomer") <= RESOLVE_TABLE.keys()


def test_every_modelled_status_but_success_has_a_row() -> None:
    statuses = set(MODEL.shape_for("UsageRecordResult").members["Status"].enum)
    assert statuses - {"Success"} <= {code for row in RECORD_ROWS for code in row.codes}


def test_no_code_has_two_rows() -> None:
    codes = [code for row in batch_dispositions.ROWS for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("code", [code for row in ISOLATED_ROWS for code in row.codes])
def test_a_refusal_about_one_record_is_isolated_and_billed_nothing(code: str) -> None:
    assert isolates(code)
    assert classify(code).definite


@pytest.mark.parametrize("code", [*(code for row in CALL_ROWS for code in row.codes), *OF_CALL, "NoCredentialsError"])
def test_a_refusal_of_the_call_is_held_and_splits_no_batch(code: str) -> None:
    assert not isolates(code)
    assert classify(code).disposition is Disposition.HOLD


def test_an_unknown_code_is_held_and_isolated() -> None:
    assert classify("NewException").disposition is Disposition.HOLD
    assert isolates("NewException")


def test_meter_usage_and_batch_meter_usage_differ_in_the_product_code_they_reject() -> None:
    """A sidecar has one product code in every record; for the service it is about the call."""
    assert dispositions.classify("InvalidProductCodeException").disposition is Disposition.REJECT
    assert classify("InvalidProductCodeException").disposition is Disposition.HOLD
