"""What is sent in one BatchMeterUsage call."""

from __future__ import annotations

import pytest

from sidecar.metering.batch_call import BatchRequest, RecordKey

LICENSE = {"CustomerAWSAccountId": "123456789012", "LicenseArn": "arn:aws:license-manager::294406891311:license:l-1"}
OLD = {"CustomerIdentifier": "cust-1"}


def test_a_call_with_a_product_code_takes_no_license() -> None:
    with pytest.raises(ValueError, match="twice"):
        BatchRequest(product_code="prod1", records=(OLD, LICENSE))


def test_a_call_without_a_product_code_sends_none() -> None:
    assert BatchRequest(product_code=None, records=(LICENSE,)).as_wire() == {"UsageRecords": [LICENSE]}


def test_a_call_with_a_product_code_sends_it_once() -> None:
    wire = BatchRequest(product_code="prod1", records=(OLD,)).as_wire()
    assert wire == {"ProductCode": "prod1", "UsageRecords": [OLD]}


def test_two_instants_of_one_hour_are_one_key_and_two_hours_are_two() -> None:
    record = {**OLD, "Dimension": "requests"}
    assert RecordKey.of(record, 7200) == RecordKey.of(record, 10799)
    assert RecordKey.of(record, 7200) != RecordKey.of(record, 10800)
