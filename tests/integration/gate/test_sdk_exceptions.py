"""Every exception of the SDK has a row, for the gate and for a record."""

from __future__ import annotations

import re

import botocore.exceptions
import pytest

from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.classify import TABLE as GATE
from sidecar.metering.dispositions import TABLE as RECORDS

from .sdk_exceptions import OTHERS, UNSEEN, sdk_exceptions


@pytest.mark.parametrize("name", sdk_exceptions())
def test_each_exception_of_the_sdk_has_a_row_of_its_own(name: str) -> None:
    assert (name, AnsweredBy.SDK) in GATE
    assert name in RECORDS


@pytest.mark.parametrize("pattern", OTHERS)
def test_each_exemption_is_for_a_class_the_sdk_has(pattern: str) -> None:
    assert [name for name in vars(botocore.exceptions) if re.fullmatch(pattern, name)]


def test_what_is_called_unseen_is_the_sdks() -> None:
    assert set(UNSEEN) <= set(sdk_exceptions())


@pytest.mark.parametrize("name", [name for name in sdk_exceptions() if not RECORDS[name].definite])
def test_only_what_comes_after_sending_is_in_doubt(name: str) -> None:
    """Written down by hand: a new line here says that AWS may have billed."""
    assert name in {
        "AwsChunkedWrapperError",
        "CapacityNotAvailableError",
        "ChecksumError",
        "ConnectionClosedError",
        "ConnectionError",
        "EventStreamError",
        "FlexibleChecksumError",
        "HTTPClientError",
        "IncompleteReadError",
        "ReadTimeoutError",
        "ResponseStreamingError",
        "SSLError",
        "UnseekableStreamError",
    }
