"""Every answer has one meaning, and the operator a next step."""

from __future__ import annotations

import builtins
import re
from collections import Counter
from collections.abc import Mapping
from string import Formatter
from typing import Any, Final

import botocore.exceptions
import botocore.parsers
import botocore.session
import pytest

from sidecar.entitlement import classify as answers
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.aws_errors import LICENSE_ACCESS, LICENSES
from sidecar.entitlement.classify import PLACES, TABLE, UNKNOWN, classify, classify_exception, fill_hint
from sidecar.entitlement.error_table import ROWS

R, M, S, SDK, TOKEN = (
    AnsweredBy.REGISTER_USAGE,
    AnsweredBy.METER_USAGE,
    AnsweredBy.STS,
    AnsweredBy.SDK,
    AnsweredBy.TOKEN,
)
DENY, CONFIG, RETRY, LATER_CONFIG = (
    AnswerClass.DENY,
    AnswerClass.CONFIG,
    AnswerClass.RETRY,
    AnswerClass.RETRY_THEN_CONFIG,
)

OURS: Final = {
    "LicenseRoleMissing",
    "LicenseTokenUnreadable",
    "MalformedCredentials",
    "ContainerTokenUnreadable",
    "MalformedProxy",
    "RuntimeError:clock",
    "ca_bundle_unreadable",
    "child_failed",
    "child_timed_out",
    "metadata_unreadable",
}
"""Codes of the SDK's place that are not the SDK's."""

EXPECTED: Final[Mapping[tuple[AnsweredBy, ...], Mapping[AnswerClass, str]]] = {
    (R, M): {
        DENY: "CustomerNotEntitledException CustomerNotSubscribedException PlatformNotSupportedException"
        " InvalidProductCodeException",
        CONFIG: "DisabledApiException AccessDeniedException",
        RETRY: "InternalServiceErrorException",
    },
    (R,): {
        DENY: "InvalidPublicKeyVersionException InvalidPublicKeyException",
        CONFIG: "InvalidRegionException",
    },
    (M,): {
        DENY: "InvalidUsageDimensionException InvalidTagException InvalidUsageAllocationsException"
        " IdempotencyConflictException",
        CONFIG: "InvalidEndpointRegionException UnauthorizedException UnauthorizedOperation AccessDenied"
        " TimestampOutOfBoundsException 200",
        RETRY: "DuplicateRequestException",
    },
    (S,): {
        CONFIG: "AccessDenied InvalidIdentityToken IDPRejectedClaim ValidationError RegionDisabledException"
        " PackedPolicyTooLarge MalformedPolicyDocument",
        RETRY: "IDPCommunicationError",
    },
    (R, M, S): {
        DENY: "ValidationException SerializationException UnknownOperationException",
        CONFIG: "ExpiredTokenException UnrecognizedClientException InvalidClientTokenId MissingAuthenticationToken"
        " MissingAuthenticationTokenException IncompleteSignature InvalidSignatureException SignatureDoesNotMatch"
        " RequestTimeTooSkewed RequestExpired OptInRequired AuthFailure NotAuthorized",
        RETRY: "ThrottlingException 500 502 503 504 408 ServiceUnavailable InternalFailure RequestTimeout"
        " RequestTimeoutException",
    },
    (SDK,): {
        CONFIG: "NoCredentialsError PartialCredentialsError FileNotFoundError PermissionError InvalidConfigError"
        " ProfileNotFound ConfigParseError NoRegionError SSLError ProxyConnectionError",
        LATER_CONFIG: "CredentialRetrievalError MetadataRetrievalError",
        RETRY: "EndpointConnectionError ConnectTimeoutError ConnectionClosedError ReadTimeoutError",
    },
    (TOKEN,): {
        DENY: "signature_missing token_malformed token_algorithm token_signature token_product_code"
        " token_public_key_version token_nonce token_contradicts_itself token_iat token_exp token_nbf",
        CONFIG: "public_key_unreadable",
    },
}
"""What the documentation of AWS and its SDK says about each code, written down by hand."""

ONCE_MORE: Final = {
    *((code, R) for code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId")),
    *((code, M) for code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId")),
    *(
        (code, asked)
        for code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId")
        for asked in LICENSES
    ),
    *((code, asked) for code in ("UnrecognizedClientException", "InvalidClientTokenId") for asked in LICENSE_ACCESS),
    *((code, LICENSE_ACCESS[1]) for code in ("InvalidIdentityToken", "ExpiredTokenException", "IDPRejectedClaim")),
    *((code, S) for code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId")),
    *((code, TOKEN) for code in EXPECTED[TOKEN,][DENY].split()),
}


def expected() -> list[Any]:
    return [
        pytest.param(code, asked, answer, id=f"{code}-{asked.value}")
        for askeds, classes in EXPECTED.items()
        for answer, codes in classes.items()
        for code in codes.split()
        for asked in askeds
    ]


@pytest.mark.parametrize(("code", "asked", "answer"), expected())
def test_each_documented_code_has_a_row_of_its_documented_class(
    code: str, asked: AnsweredBy, answer: AnswerClass
) -> None:
    assert (code, asked) in TABLE
    assert classify(code, asked).answer is answer


@pytest.mark.parametrize("code", ["ValidationException", "SerializationException", "UnknownOperationException"])
def test_a_malformed_request_is_final_for_whomever_it_was_meant(code: str) -> None:
    assert classify(code, S).answer is classify(code, R).answer is classify(code, M).answer


@pytest.mark.parametrize(
    ("service", "operation", "asked"),
    [
        ("meteringmarketplace", "RegisterUsage", R),
        ("meteringmarketplace", "MeterUsage", M),
        ("sts", "AssumeRoleWithWebIdentity", S),
    ],
)
def test_every_modelled_error_has_a_row(service: str, operation: str, asked: AnsweredBy) -> None:
    """Fails when the SDK brings a new one."""
    shapes = botocore.session.get_session().get_service_model(service).operation_model(operation).error_shapes
    codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in shapes}
    assert codes
    assert {code for code in codes if (code, asked) not in TABLE} == set()


def test_every_code_of_the_sdk_exists_or_is_documented_as_ours() -> None:
    codes = {code for row in ROWS if row.asked == (SDK,) for code in row.codes}
    places = (botocore.exceptions, botocore.parsers, builtins)
    exist = {code for code in codes if any(hasattr(place, code) for place in places)}
    assert codes - exist == OURS


def test_no_code_has_two_rows() -> None:
    counted = Counter((code, asked) for row in ROWS for code in row.codes for asked in row.asked)
    assert [pair for pair, times in counted.items() if times > 1] == []
    assert set(counted) == set(TABLE)


def test_codes_are_matched_to_the_letter() -> None:
    assert classify("accessdeniedexception", R) is UNKNOWN
    assert classify("AccessDeniedException ", R) is UNKNOWN
    assert classify("CustomerNotEntitled", R) is UNKNOWN


def test_a_code_of_one_service_means_nothing_from_the_other() -> None:
    assert classify("CustomerNotEntitledException", S) is UNKNOWN
    assert classify("AccessDenied", R) is UNKNOWN
    assert classify("token_nonce", R) is UNKNOWN
    assert classify("NoCredentialsError", R) is UNKNOWN
    assert classify("InvalidUsageDimensionException", R) is UNKNOWN
    assert classify("InvalidPublicKeyVersionException", M) is UNKNOWN
    assert classify("InvalidEndpointRegionException", R) is UNKNOWN


def test_what_iam_has_to_allow_is_named_by_who_refused() -> None:
    assert "aws-marketplace:RegisterUsage" in classify("AccessDeniedException", R).hint
    for code in ("AccessDeniedException", "UnauthorizedException"):
        hint = classify(code, M).hint
        assert "aws-marketplace:MeterUsage" in hint
        assert "RegisterUsage" not in hint


def test_a_dry_run_that_passed_is_no_error() -> None:
    assert ("DryRunOperation", M) not in TABLE


def test_an_expired_token_is_told_apart_by_who_says_so() -> None:
    assert classify("ExpiredTokenException", R).reason == "credentials_expired"
    assert classify("ExpiredTokenException", M).reason == "credentials_expired"
    assert classify("ExpiredTokenException", S).reason == "web_identity_token_expired"


@pytest.mark.parametrize("asked", [R, M, S])
@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch"])
@pytest.mark.parametrize(
    "message",
    [
        "Signature expired: 20260301T110000Z is now earlier than 20260301T114500Z (20260301T120000Z - 15 min.)",
        "Signature not yet current: 20260301T130000Z is still later than 20260301T121500Z (20260301T120000Z + 15 min.)",
        "The difference between the request time and the current time is too large: clock skew",
    ],
)
def test_a_signature_refused_for_its_date_is_a_clock_to_set_and_may_pass(
    asked: AnsweredBy, code: str, message: str
) -> None:
    row = classify(code, asked, message)
    assert (row.answer, row.reason) == (RETRY, "clock_skew")
    assert not row.unreachable


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch"])
@pytest.mark.parametrize(
    "message",
    ["", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Key."],
)
def test_a_signature_refused_for_anything_else_is_a_mistake_here(code: str, message: str) -> None:
    row = classify(code, R, message)
    assert (row.answer, row.reason) == (CONFIG, "signature_mismatch")


def test_words_about_a_clock_change_no_other_code() -> None:
    assert classify("AccessDeniedException", R, "Signature expired").reason == "access_denied"
    assert classify("NeverSeen", R, "Signature expired") is UNKNOWN


@pytest.mark.parametrize("asked", [R, M, S])
@pytest.mark.parametrize("code", ["BrandNewException", "", "418", "201"])
def test_an_unknown_code_is_a_mistake_here_and_stands_in_the_hint(code: str, asked: AnsweredBy) -> None:
    row = classify(code, asked)
    assert (row.answer, row.reason, row.unreachable) == (CONFIG, "unknown_error", False)
    assert (code or "an unknown code") in fill_hint(row.hint, {"code": code})


def test_an_exception_is_looked_up_from_its_own_name_to_its_ancestors() -> None:
    assert classify_exception(("SSLError", "ConnectionError", "BotoCoreError"))[0] == "SSLError"
    assert classify_exception(("NeverSeen", "ConnectionClosedError", "HTTPClientError"))[0] == "ConnectionClosedError"
    assert classify_exception(("NeverSeen", "HTTPClientError"))[1].reason == "aws_unreadable"


def test_an_unknown_exception_is_a_mistake_here_under_its_own_name() -> None:
    assert classify_exception(("NeverSeen", "BotoCoreError")) == ("NeverSeen", UNKNOWN)


def test_only_what_may_be_a_leftover_is_asked_once_more() -> None:
    assert {pair for pair, row in TABLE.items() if row.once_more} == ONCE_MORE


def test_only_where_aws_gave_no_answer_may_a_kept_one_stand_in() -> None:
    """A denial and a refusal of AWS's must never be covered by an older yes."""
    unreachable = {row.reason for row in ROWS if row.unreachable}
    assert unreachable == {
        "hour_already_metered",
        "seat_in_conflict",
        "throttled",
        "aws_failing",
        "oidc_provider_unreachable",
        "license_issuer_unreachable",
        "credentials_unreachable",
        "aws_unreachable",
        "aws_slow",
        "tls_failed",
        "proxy_failed",
        "proxy_malformed",
        "aws_unreadable",
        "asking_failed",
        "asking_timed_out",
        "task_metadata_unreadable",
    }
    assert not any(row.unreachable for row in ROWS if row.answer is DENY)


def test_hints_have_places_that_exist_and_none_is_left_open() -> None:
    for row in (*ROWS, UNKNOWN):
        places = {name for _, name, _, _ in Formatter().parse(row.hint) if name is not None}
        assert places <= set(PLACES), row.reason
        said = fill_hint(row.hint, {})
        assert "{" not in said, row.reason
        assert "}" not in said, row.reason
        assert said == said.strip()


@pytest.mark.parametrize("place", PLACES)
def test_what_is_known_stands_in_the_hint(place: str) -> None:
    assert fill_hint("a {" + place + "} b", {place: "<known>"}) == "a <known> b"
    assert "<" not in fill_hint("a {" + place + "} b", {place: ""})


def test_a_fact_that_looks_like_a_place_is_left_as_it_is() -> None:
    assert fill_hint("{role} at {host}", {"role": "x", "host": "{nowhere}"}) == "x at {nowhere}"


def test_reasons_are_words_for_alerts_and_every_row_says_what_to_do() -> None:
    for row in (*ROWS, UNKNOWN):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", row.reason), row.reason
        assert bool(row.hint) is (row.asked != (TOKEN,)), row.reason
        if row.hint:
            assert row.hint.endswith((".", "{skew}", "{role}.", "{region_fix}")), row.reason


def test_a_reason_belongs_to_one_class_unless_it_is_the_clock() -> None:
    classes: dict[str, set[AnswerClass]] = {}
    for row in ROWS:
        classes.setdefault(row.reason, set()).add(row.answer)
    assert {reason for reason, found in classes.items() if len(found) > 1} == {"clock_skew"}


def test_the_reasons_of_a_yes_are_no_rows() -> None:
    said = {one[0] for one in (answers.ACCEPTED, answers.KEPT_ANSWER, answers.DRY_RUN_PASSED, answers.KEPT_PASS)}
    assert len(said) == 4
    assert said.isdisjoint(row.reason for row in ROWS)
    assert all(row.answer is not AnswerClass.ACCEPTED for row in ROWS)
