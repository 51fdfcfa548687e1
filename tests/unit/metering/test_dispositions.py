"""Every error MeterUsage can answer with has one meaning."""

from __future__ import annotations

import botocore.exceptions
import botocore.session
import pytest

from sidecar.metering.dispositions import ROWS, TABLE, UNKNOWN, classify, known_code
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Disposition


def test_every_modelled_error_has_a_row() -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    modelled = {error.name for error in model.operation_model("MeterUsage").error_shapes}
    assert len(modelled) >= 11
    assert modelled <= set(TABLE)


def test_every_error_of_sts_has_a_row() -> None:
    model = botocore.session.get_session().get_service_model("sts")
    shapes = model.operation_model("AssumeRoleWithWebIdentity").error_shapes
    assert {shape.metadata.get("error", {}).get("code", shape.name) for shape in shapes} <= set(TABLE)


def test_a_code_stands_in_one_row() -> None:
    codes = [code for row in ROWS for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("code", "disposition", "definite"),
    [
        ("InternalServiceErrorException", Disposition.HOLD, False),
        ("InvalidProductCodeException", Disposition.REJECT, True),
        ("InvalidUsageDimensionException", Disposition.REJECT, True),
        ("InvalidTagException", Disposition.REPAIR, True),
        ("InvalidUsageAllocationsException", Disposition.REPAIR, True),
        ("InvalidEndpointRegionException", Disposition.HOLD, True),
        ("TimestampOutOfBoundsException", Disposition.EXPIRE, True),
        ("DuplicateRequestException", Disposition.DISPUTE, True),
        ("IdempotencyConflictException", Disposition.REPAIR, True),
        ("ThrottlingException", Disposition.HOLD, True),
        ("CustomerNotEntitledException", Disposition.HOLD, True),
        ("AccessDeniedException", Disposition.HOLD, True),
        ("ExpiredTokenException", Disposition.HOLD, True),
        ("ValidationException", Disposition.REPAIR, True),
        ("DecimalsUnsupported", Disposition.REPAIR, True),
        ("503", Disposition.HOLD, False),
        ("403", Disposition.HOLD, False),
        ("NoCredentialsError", Disposition.HOLD, True),
        ("EndpointConnectionError", Disposition.HOLD, True),
        ("ConnectTimeoutError", Disposition.HOLD, True),
        ("ReadTimeoutError", Disposition.HOLD, False),
        ("ConnectionClosedError", Disposition.HOLD, False),
        ("SSLError", Disposition.HOLD, False),
        ("child_timed_out", Disposition.HOLD, False),
        ("record_id_missing", Disposition.HOLD, False),
    ],
)
def test_a_code_means_what_aws_writes(code: str, disposition: Disposition, definite: bool) -> None:
    row = classify(code)
    assert (row.disposition, row.definite) == (disposition, definite)


@pytest.mark.parametrize("code", ["", "SomethingNewException", "throttlingexception", "Throttling "])
def test_an_unknown_code_is_held_and_not_taken_for_a_no(code: str) -> None:
    assert classify(code) is UNKNOWN
    assert (UNKNOWN.disposition, UNKNOWN.definite) == (Disposition.HOLD, False)


def test_a_repair_stands_exactly_where_the_row_repairs() -> None:
    assert all(bool(row.repairs) == (row.disposition is Disposition.REPAIR) for row in ROWS)
    assert {repair for row in ROWS for repair in row.repairs} == set(Repair)


def test_what_is_final_for_a_record_was_definitely_refused() -> None:
    assert all(row.definite for row in ROWS if row.disposition is not Disposition.HOLD)


def test_every_row_has_a_reason_and_a_next_step() -> None:
    assert all(row.reason.isidentifier() and len(row.hint) > 20 for row in (*ROWS, UNKNOWN))
    assert len({row.reason for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("message", ["Signature expired: 2026", "Signature not yet current", "clock skew"])
def test_a_message_tells_a_bad_clock_from_a_bad_signature(message: str) -> None:
    assert classify("InvalidSignatureException", message).reason == "clock_skew"
    assert classify("InvalidSignatureException", "does not match").reason == "signature_refused"
    assert classify("ThrottlingException", message).reason == "throttled"


def test_tls_that_failed_on_the_certificate_sent_nothing() -> None:
    assert classify("SSLError", "[SSL: CERTIFICATE_VERIFY_FAILED] unable to get issuer").definite
    assert not classify("SSLError", "The read operation timed out").definite


def test_an_exception_is_known_by_its_closest_class() -> None:
    names = [kind.__name__ for kind in botocore.exceptions.ProxyConnectionError.__mro__]
    assert known_code(names) == "ProxyConnectionError"
    assert known_code(["NewKindOfTimeout", "ReadTimeoutError", "HTTPClientError"]) == "ReadTimeoutError"
    assert known_code(["Wholly", "New"]) == "Wholly"
