"""Signature headers, read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.emulator.refusals import Refusal
from sidecar.emulator.sigv4 import access_key, read

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/aws-marketplace/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=00ff"
)


def headers(authorization: str = AUTHORIZATION, *, late_by: timedelta = timedelta(0)) -> dict[str, str]:
    stamp = (NOW - late_by).strftime("%Y%m%dT%H%M%SZ")
    return {"authorization": authorization, "x-amz-date": stamp}


def refused(sent: dict[str, str]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(sent, NOW)
    return caught.value


def test_the_scope_names_key_and_region() -> None:
    signed = read({**headers(), "x-amz-security-token": "s"}, NOW)
    assert (signed.access_key, signed.region, signed.session_token) == ("AKIDEXAMPLE", "us-east-1", "s")


def test_no_authorization_is_a_missing_token() -> None:
    assert refused({}).code == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer x",
        "AWS4-HMAC-SHA256",
        AUTHORIZATION.replace("Credential=", "Cred="),
        AUTHORIZATION.replace(", Signature=00ff", ""),
        AUTHORIZATION.replace("/aws4_request", ""),
        AUTHORIZATION.replace("AKIDEXAMPLE", ""),
    ],
)
def test_a_malformed_authorization_is_incomplete(authorization: str) -> None:
    assert refused(headers(authorization)).code == "IncompleteSignatureException"
    assert access_key(headers(authorization)) is None


def test_a_missing_date_is_incomplete() -> None:
    assert refused({"authorization": AUTHORIZATION}).code == "IncompleteSignatureException"


def test_another_services_scope_is_refused() -> None:
    other = refused(headers(AUTHORIZATION.replace("aws-marketplace", "sts")))
    assert (other.code, "'aws-marketplace'" in other.message) == ("InvalidSignatureException", True)


@pytest.mark.parametrize("minutes", [-15, 0, 15])
def test_fifteen_minutes_are_tolerated(minutes: int) -> None:
    read(headers(late_by=timedelta(minutes=minutes)), NOW)


def test_an_old_signature_has_expired() -> None:
    old = refused(headers(late_by=timedelta(minutes=16)))
    assert old.code == "InvalidSignatureException"
    assert old.message == (
        "Signature expired: 20261120T094400Z is now earlier than 20261120T094500Z (20261120T100000Z - 15 min.)"
    )


def test_a_future_signature_is_not_yet_current() -> None:
    young = refused(headers(late_by=timedelta(minutes=-16)))
    assert young.message == (
        "Signature not yet current: 20261120T101600Z is still later than 20261120T101500Z (20261120T100000Z + 15 min.)"
    )
