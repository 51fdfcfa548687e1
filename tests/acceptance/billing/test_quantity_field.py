"""A real sidecar at an AWS that refuses the decimal field: every hour is billed once, and only the first asks twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import Metered, Product, at, billed

pytestmark = pytest.mark.slow  # it starts a sidecar


@pytest.mark.parametrize(("refused", "calls"), [(True, 3), (False, 2)])
def test_two_hours_are_billed_in_the_field_that_aws_takes(
    refused: bool, calls: int, aws: Emulator, tmp_path: Path, product: Product
) -> None:
    aws.behave(refuse_decimal_quantity=refused)
    with Metered(aws, tmp_path) as sidecar:
        sidecar.ready()
        for hour in (11, 12):
            product.used(sidecar, 7)
            aws.set_clock(now=at(f"{hour}:10:00"))
            sidecar.until_sealed(f"{hour - 1}:00")
            sidecar.look()
            sidecar.until_settled()
    assert billed(aws) == product.owed == 14
    assert {record.is_decimal for record in aws.usage_records()} == {not refused}
    assert len([call for call in aws.calls() if call.operation == "MeterUsage"]) == calls
    assert len(sidecar.events("quantity.decimal_refused")) == int(refused)
