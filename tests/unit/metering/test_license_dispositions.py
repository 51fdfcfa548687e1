"""Every error of CheckoutLicense has one meaning for usage that is drawn from a license."""

from __future__ import annotations

import botocore.session
import pytest

from sidecar.metering import dispositions
from sidecar.metering.dispositions import TABLE, classify, holds_all
from sidecar.metering.license_dispositions import ONE_POOL, ROWS, SHARED, SUFFIX, qualified
from sidecar.metering.states import Disposition

CODES = [code for row in ROWS for code in row.codes]


def test_every_modelled_error_of_a_checkout_has_a_row() -> None:
    model = botocore.session.get_session().get_service_model("license-manager")
    modelled = {error.name for error in model.operation_model("CheckoutLicense").error_shapes}
    assert len(modelled) >= 10
    assert {qualified(code) for code in modelled} <= set(CODES)


def test_no_code_has_two_meanings() -> None:
    assert len(CODES) == len(set(CODES))
    assert not set(CODES) & {code for row in dispositions.ROWS for code in row.codes}
    assert {code.removesuffix(SUFFIX) for code in CODES if code.endswith(SUFFIX)} == SHARED


@pytest.mark.parametrize(
    ("code", "disposition", "definite", "loud"),
    [
        ("NoEntitlementsAllowedException", Disposition.HOLD, True, True),
        ("EntitlementNotAllowedException", Disposition.HOLD, True, True),
        ("ResourceNotFoundException", Disposition.HOLD, True, True),
        ("InvalidParameterValueException", Disposition.REJECT, True, False),
        ("ValidationException", Disposition.REJECT, True, False),
        ("UnsupportedDigitalSignatureMethodException", Disposition.REJECT, True, False),
        ("RedirectException", Disposition.HOLD, True, False),
        ("AuthorizationException", Disposition.HOLD, True, False),
        ("AccessDeniedException", Disposition.HOLD, True, False),
        ("RateLimitExceededException", Disposition.HOLD, True, False),
        ("ServerInternalException", Disposition.HOLD, False, False),
        ("entitlement_not_in_answer", Disposition.HOLD, False, False),
    ],
)
def test_a_code_means_what_aws_writes(code: str, disposition: Disposition, definite: bool, loud: bool) -> None:
    row = classify(qualified(code))
    assert (row.disposition, row.definite, row.loud) == (disposition, definite, loud)


def test_what_is_metered_keeps_its_own_meaning_of_a_shared_code() -> None:
    assert "MeterUsage" in classify("AccessDeniedException").hint
    assert "license-manager:CheckoutLicense" in classify(qualified("AccessDeniedException")).hint
    assert qualified("ThrottlingException") == "ThrottlingException"


def test_an_empty_pool_holds_no_other_license_and_a_missing_right_does() -> None:
    assert not any(map(holds_all, ONE_POOL))
    assert all(map(holds_all, ["AuthorizationException", "RateLimitExceededException", "ResourceNotFoundException"]))


def test_no_drawdown_expires_is_disputed_or_repaired() -> None:
    assert {row.disposition for row in ROWS} == {Disposition.HOLD, Disposition.REJECT}
    assert all(row.definite for row in ROWS if row.disposition is not Disposition.HOLD)


def test_every_row_has_a_reason_of_its_own_and_a_next_step() -> None:
    assert all(row.reason.isidentifier() and len(row.hint) > 20 for row in ROWS)
    reasons = [row.reason for row in (*dispositions.ROWS, *ROWS)]
    assert len(set(reasons)) == len(reasons)
    assert len(TABLE) == len(CODES) + sum(len(row.codes) for row in dispositions.ROWS)
