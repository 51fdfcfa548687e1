"""What License Manager answers is compared with what was asked, license by license."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import botocore.session
import pytest

from sidecar.entitlement import contract
from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.classify import TABLE, classify
from sidecar.entitlement.contract import Ask, CheckedOut, Entitlement, Granted, Refused, allows, read_instant, verdict
from sidecar.entitlement.license_errors import ACTIONS, INSTEAD, ROWS
from sidecar.settings import License, Take

CHECKOUT = AnsweredBy.CHECKOUT_LICENSE
NONE = classify("NoEntitlementsAllowedException", CHECKOUT)
DENIED = classify("AccessDeniedException", CHECKOUT)
BUSY = classify("RateLimitExceededException", CHECKOUT)


def license(name: str, value: str = "1", take: Take = Take.CHECK, any_of: str = "", unit: str = "Count") -> License:
    return License(name=name, value=value if unit != "None" else "", take=take, any_of=any_of, unit=unit)


def out(*allowed: Entitlement, token: str = "held") -> CheckedOut:
    return CheckedOut(
        allowed=allowed, consumption_token=token, expires_at=None, license_arn="", region="us-east-1", request_id=""
    )


def entitled(name: str, value: str = "1", unit: str = "Count") -> Entitlement:
    return Entitlement(name=name, unit=unit, value=value)


def all_of(*licenses: License) -> dict[License, contract.Answer]:
    return {one: out(contract.asked(one)) for one in licenses}


# -- one answer


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        (entitled("seats", "2"), entitled("seats", "2")),
        (entitled("seats", "2"), entitled("seats", "10")),
        (entitled("seats", "0"), entitled("seats", "0")),
        (entitled("pro", "", "None"), entitled("pro", "", "None")),
        (entitled("pro", "", "None"), entitled("pro", "Enabled", "None")),
        (entitled("disk", "5", "Gigabytes"), entitled("disk", "5", "Gigabytes")),
    ],
    ids=str,
)
def test_what_was_asked_for_is_allowed_by_name_unit_and_value(wanted: Entitlement, allowed: Entitlement) -> None:
    assert allows(wanted, [entitled("other"), allowed])


@pytest.mark.parametrize(
    "allowed",
    [
        [],
        [entitled("seats", "1")],
        [entitled("seats", "")],
        [entitled("seats", "2.0")],
        [entitled("seats", "-2")],
        [entitled("seats", "many")],
        [entitled("seats", "٢")],
        [entitled("Seats", "2")],
        [entitled("seats", "2", "Seconds")],
        [entitled("seats", "2", "None")],
        [entitled("seats", "1"), entitled("seats", "1")],
    ],
    ids=str,
)
def test_anything_else_is_not_what_was_asked_for(allowed: list[Entitlement]) -> None:
    assert not allows(entitled("seats", "2"), allowed)


@pytest.mark.parametrize("value", ["1", "", "Unlimited"])
def test_what_is_not_limited_is_not_answered_by_a_number(value: str) -> None:
    assert not allows(entitled("seats", "0"), [entitled("seats", value)])


@pytest.mark.parametrize("found", [out(), out(entitled("pro"), token=""), out(entitled("basic"))], ids=str)
def test_a_200_that_is_no_grant_is_a_refusal(found: CheckedOut) -> None:
    row = contract.refusal(license("pro"), found)
    assert row is not None
    assert (row.answer, row.reason) == (AnswerClass.DENY, "entitlement_not_in_answer")
    assert contract.refusal(license("pro"), out(entitled("pro"))) is None


@pytest.mark.parametrize("text", ["2026-11-28T22:00:00Z", "2026-11-28T22:00:00+00:00", "2026-11-28T22:00:00",
                                  "2026-11-28T22:00:00.000Z", "2026-11-29T00:00:00+02:00"])  # fmt: skip
def test_an_instant_has_z_an_offset_or_no_zone_which_is_utc(text: str) -> None:
    found = read_instant(text)
    assert found == datetime(2026, 11, 28, 22, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)
    assert found.tzinfo is not timezone(timedelta(hours=2))


@pytest.mark.parametrize("text", ["", "soon", None, 1_800_000_000, "9999-12-31T23:59:59-23:59", "2026-13-01"])
def test_what_is_no_instant_is_none(text: object) -> None:
    assert read_instant(text) is None


# -- all answers


def test_each_license_is_asked_for_by_itself_in_order() -> None:
    pro, seats = license("pro"), license("seats", "2", Take.SEAT)
    assert verdict([pro, seats], {}) == Ask(license=pro)
    assert verdict([pro, seats], all_of(pro)) == Ask(license=seats)
    assert verdict([pro, seats], all_of(pro, seats)) == Granted(licenses=(pro, seats))


def test_a_drawdown_is_not_asked_for() -> None:
    pro, pages = license("pro"), license("pages", "", Take.DRAWDOWN)
    assert verdict([pages, pro], all_of(pro)) == Granted(licenses=(pro,))


def test_every_license_without_a_group_is_needed() -> None:
    pro, seats = license("pro"), license("seats")
    assert verdict([pro, seats], {**all_of(pro), seats: NONE}) == Refused(license=seats, row=NONE, group=(seats,))
    assert verdict([pro, seats], {pro: NONE}) == Refused(license=pro, row=NONE, group=(pro,))


TIERS = [license(name, any_of="tier") for name in ("gold", "silver", "bronze")]


def test_tiers_are_asked_for_one_by_one_until_one_is_allowed() -> None:
    gold, silver, _ = TIERS
    assert verdict(TIERS, {gold: NONE}) == Ask(license=silver)
    assert verdict(TIERS, {gold: NONE, **all_of(silver)}) == Granted(licenses=(silver,))
    assert verdict(TIERS, all_of(gold)) == Granted(licenses=(gold,))
    assert verdict(TIERS, {gold: out(), silver: NONE}) == Ask(license=TIERS[2])


def test_tiers_of_which_none_is_allowed_are_refused_together() -> None:
    found = verdict(TIERS, dict.fromkeys(TIERS, NONE))
    assert found == Refused(license=TIERS[2], row=NONE, group=tuple(TIERS))


@pytest.mark.parametrize("row", [DENIED, BUSY], ids=lambda row: row.reason)
def test_another_failure_of_a_tier_ends_the_check(row: ErrorRow) -> None:
    answers: Mapping[License, contract.Answer] = {TIERS[0]: NONE, TIERS[1]: row}
    assert verdict(TIERS, answers) == Refused(license=TIERS[1], row=row, group=tuple(TIERS))


def test_a_group_and_a_license_without_one_are_both_needed() -> None:
    base = license("base")
    assert verdict([TIERS[0], base, TIERS[1]], {TIERS[0]: NONE}) == Ask(license=TIERS[1])
    answers = {TIERS[0]: NONE, **all_of(TIERS[1])}
    assert verdict([TIERS[0], base, TIERS[1]], answers) == Ask(license=base)
    assert verdict([TIERS[0], base, TIERS[1]], answers | all_of(base)) == Granted(licenses=(TIERS[1], base))


# -- the table of errors


OPERATIONS = {
    "CheckoutLicense": CHECKOUT,
    "CheckInLicense": AnsweredBy.CHECK_IN_LICENSE,
    "ExtendLicenseConsumption": AnsweredBy.EXTEND_LICENSE,
    "GetLicense": AnsweredBy.GET_LICENSE,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_error_that_the_model_has_for_a_call_has_a_row(operation: str) -> None:
    shapes = botocore.session.get_session().get_service_model("license-manager").operation_model(operation).error_shapes
    codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in shapes}
    assert len(codes) >= 6
    assert {code for code in codes if (code, OPERATIONS[operation]) not in TABLE} == set()


EXPECTED: Mapping[AnswerClass, str] = {
    AnswerClass.DENY: "NoEntitlementsAllowedException EntitlementNotAllowedException ResourceNotFoundException"
    " InvalidParameterValueException ValidationException entitlement_not_in_answer",
    AnswerClass.CONFIG: "RedirectException AuthorizationException AccessDeniedException"
    " UnsupportedDigitalSignatureMethodException ExpiredTokenException UnrecognizedClientException"
    " InvalidSignatureException SignatureDoesNotMatch 200 403",
    AnswerClass.RETRY: "RateLimitExceededException ThrottlingException ServerInternalException 500 502 503 504",
}


@pytest.mark.parametrize(
    ("code", "answer"), [(code, answer) for answer, codes in EXPECTED.items() for code in codes.split()]
)
def test_each_documented_code_of_a_checkout_has_its_class(code: str, answer: AnswerClass) -> None:
    row = classify(code, CHECKOUT)
    assert (row.answer, (code, CHECKOUT) in TABLE) == (answer, True)


def test_one_hint_is_for_no_license_and_for_no_free_seat() -> None:
    for words in ("buy or renew", "activate", "seats are in use", "compare name and unit"):
        assert words in NONE.hint


def test_a_refusal_by_iam_names_policy_and_actions() -> None:
    for operation in OPERATIONS.values():
        hint = classify("AuthorizationException", operation).hint
        assert "AWSLicenseManagerConsumptionPolicy" in hint
        optional = operation is AnsweredBy.GET_LICENSE
        assert all((action in hint) is not optional for action in ACTIONS)
        assert ("license-manager:GetLicense" in hint) is optional


def test_no_hint_for_a_contract_forbids_pod_identity() -> None:
    assert not [row for row in ROWS if "Pod Identity" in row.hint]
    assert all("not support" not in hint for hint in INSTEAD.values())
    reasons = {row.reason for row in TABLE.values()}
    assert set(INSTEAD) <= reasons
