"""What is read from an exception of the SDK."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from sidecar.marketplace.sdk_errors import code_of


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("ThrottlingException", "ThrottlingException"),
        ("aws.marketplace#ThrottlingException:http://internal/", "ThrottlingException"),
        ("\x1b[2JOdd\x9b1m", "\\x1b[2JOdd\\x9b1m"),
        ("", "418"),
    ],
)
def test_a_code_is_bare_and_has_no_control_character(code: str, read: str) -> None:
    error = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 418}}
    assert code_of(ClientError(error, "MeterUsage")) == read  # type: ignore[arg-type]
