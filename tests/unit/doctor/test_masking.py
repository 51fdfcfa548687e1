"""Account numbers are masked wherever an ARN has one, and nothing else is."""

from __future__ import annotations

import pytest

from sidecar.doctor.masking import masked, masked_account


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:role/app",
        "arn:aws-cn:sts::123456789012:assumed-role/app/s",
        "arn:aws:ecs:us-east-1:123456789012:task/shop/0123456789abcdef",
    ],
)
def test_the_account_of_an_arn_is_masked_up_to_its_last_digits(arn: str) -> None:
    assert masked(f"for {arn} and {arn}.") == f"for {arn} and {arn}.".replace("123456789012", "********9012")


def test_other_numbers_stay() -> None:
    assert masked("123456789012 bytes, version 1") == "123456789012 bytes, version 1"


@pytest.mark.parametrize(
    ("given", "shown"), [("123456789012", "********9012"), ("nothing", "************"), ("", "************")]
)
def test_an_account_is_shown_by_its_last_digits_or_not_at_all(given: str, shown: str) -> None:
    assert masked_account(given) == shown
