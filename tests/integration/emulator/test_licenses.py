"""Licenses are checked out, extended and returned, and the emulator counts them to the unit."""

from __future__ import annotations

import argparse
import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from sidecar.emulator import Emulator, cli, flags, license_manager
from sidecar.emulator.keys import SigningKeys
from sidecar.emulator.license_behaviour import LicenseDates
from sidecar.emulator.licenses import MARKETPLACE_FINGERPRINT, UNITS, Grant, GrantStatus, GrantType
from sidecar.emulator.object_flags import load_objects
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.state import EmulatorState
from tests.integration.emulator.conftest import ONE_TRY, code

SKU = "prod-1"
ARN = "arn:aws:iam::123456789012:role/app"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OTHER_ISSUER = "aws:999999999999:Someone:issuer-fingerprint"
MODEL = Session().get_service_model("license-manager")
_numbers = count()


@cache
def manager(url: str, *, workload: str = "pod-a", region: str = "us-east-1", **config: Any) -> Any:
    return boto3.client(
        "license-manager",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=workload,
        aws_secret_access_key="unchecked",
        config=ONE_TRY.merge(Config(parameter_validation=False, **config)),
    )


def checkout(
    aws: Emulator,
    name: str = "seats",
    value: str | None = "1",
    unit: str = "Count",
    *,
    through: Any = None,
    **asked: Any,
) -> Any:
    wanted = {"Name": name, "Unit": unit, **({} if value is None else {"Value": value})}
    request = {
        "ProductSKU": SKU,
        "CheckoutType": "PROVISIONAL",
        "KeyFingerprint": MARKETPLACE_FINGERPRINT,
        "Entitlements": [wanted],
        "ClientToken": f"token-{next(_numbers)}",
        **asked,
    }
    return (through or manager(aws.url)).checkout_license(**request)


def refused(aws: Emulator, *asked: Any, **rest: Any) -> str:
    return code(lambda: checkout(aws, *asked, **rest))


def seats(aws: Emulator, most: int = 2, **more: Any) -> None:
    held = [{"name": "seats", "max_count": most}, {"name": "gold", "unit": "None"}]
    aws.define_license(**{"id": "l-1", "sku": SKU, "entitlements": held, **more})


@pytest.fixture(scope="module")
def server(keys: SigningKeys) -> Iterator[Emulator]:
    """Started once: its state is what each test makes it."""
    with Emulator(keys=keys) as running:
        yield running


@pytest.fixture
def unlicensed(server: Emulator, keys: SigningKeys) -> Emulator:
    """An account without a license; the clock stands."""
    EmulatorState.__init__(server, keys=keys, clock_start=START, clock_speed=0)
    return server


@pytest.fixture
def licensed(unlicensed: Emulator) -> Emulator:
    """Two seats and a tier; the clock stands."""
    seats(unlicensed)
    return unlicensed


def later(aws: Emulator, **time: float) -> None:
    aws.set_clock(now=aws.clock.now() + timedelta(**time))


# -- checking out ------------------------------------------------------------------------------------


def test_a_seat_is_held_until_its_expiration_and_no_longer(licensed: Emulator) -> None:
    answer = checkout(licensed)
    assert answer["EntitlementsAllowed"] == [{"Name": "seats", "Unit": "Count", "Value": "1"}]
    assert (answer["IssuedAt"], answer["Expiration"]) == ("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z")
    later(licensed, minutes=59)
    assert licensed.held("l-1", "seats") == 1
    later(licensed, minutes=1)
    assert licensed.held("l-1", "seats") == 0
    assert [each.state(licensed.clock.now()) for each in licensed.checkouts()] == ["expired"]


def test_of_many_at_once_one_gets_the_last_seat(licensed: Emulator) -> None:
    checkout(licensed)
    clients = [manager(licensed.url, workload=f"pod-{number}", region=region) for number, region in enumerate(
        ("us-east-1", "eu-west-1", "ap-south-1", "us-west-2") * 2
    )]  # fmt: skip
    with ThreadPoolExecutor(max_workers=8) as pods:
        answers = list(pods.map(lambda one: refused(licensed, through=one), clients))
    assert sorted(answers) == ["NoEntitlementsAllowedException"] * 7 + ["ok"]
    assert licensed.held("l-1", "seats") == 2


def test_a_seat_that_was_returned_can_be_taken_again(licensed: Emulator) -> None:
    token = checkout(licensed, value="2")["LicenseConsumptionToken"]
    assert refused(licensed) == "NoEntitlementsAllowedException"
    manager(licensed.url, workload="pod-b").check_in_license(LicenseConsumptionToken=token)
    assert refused(licensed) == "ok"


def test_a_tier_is_not_counted(licensed: Emulator) -> None:
    answers = [checkout(licensed, "gold", None, "None") for _ in range(5)]
    assert answers[4]["EntitlementsAllowed"] == [{"Name": "gold", "Unit": "None"}]


def test_a_tier_with_a_value_answers_it(licensed: Emulator) -> None:
    usage = {"name": "AWS::Marketplace::Usage", "unit": "None", "value": "Enabled"}
    licensed.define_license(id="l-1", entitlements=[usage])
    found = checkout(licensed, "AWS::Marketplace::Usage", None, "None")["EntitlementsAllowed"]
    assert found == [{"Name": "AWS::Marketplace::Usage", "Unit": "None", "Value": "Enabled"}]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (("silver", "1"), "NoEntitlementsAllowedException"),
        (("Seats", "1"), "NoEntitlementsAllowedException"),
        (("seats", "3"), "NoEntitlementsAllowedException"),
        (("seats", None, "None"), "NoEntitlementsAllowedException"),
        (("gold", "1"), "NoEntitlementsAllowedException"),
        (("seats", "0"), "NoEntitlementsAllowedException"),
        (("seats", None), "InvalidParameterValueException"),
        (("seats", "1.5"), "InvalidParameterValueException"),
        (("seats", "-1"), "InvalidParameterValueException"),
        (("seats", "1", "Seats"), "ValidationException"),
        (("", "1"), "ValidationException"),
    ],
)
def test_what_the_license_does_not_allow_is_refused(licensed: Emulator, asked: Any, answer: str) -> None:
    assert refused(licensed, *asked) == answer
    assert licensed.checkouts() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"ClientToken": None},
        {"ClientToken": "a b"},
        {"ClientToken": "t" * 2049},
        {"CheckoutType": "FLOATING"},
        {"ProductSKU": None},
        {"KeyFingerprint": ""},
        {"Entitlements": None},
        {"Entitlements": [{"Name": "seats", "Unit": "Count", "Value": 1}]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_the_model_does_not_allow_is_a_validation_error(licensed: Emulator, wrong: dict[str, Any]) -> None:
    body = {
        "ProductSKU": SKU,
        "CheckoutType": "PROVISIONAL",
        "KeyFingerprint": MARKETPLACE_FINGERPRINT,
        "Entitlements": [{"Name": "seats", "Unit": "Count", "Value": "1"}],
        "ClientToken": "t",
    }
    sent = {name: value for name, value in {**body, **wrong}.items() if value is not None}
    assert code(lambda: manager(licensed.url).checkout_license(**sent)) == "ValidationException"


def test_an_empty_list_of_entitlements_is_sent_and_allows_nothing(licensed: Emulator) -> None:
    assert refused(licensed, Entitlements=[]) == "NoEntitlementsAllowedException"


def test_any_unit_is_taken_where_the_knob_says_so(licensed: Emulator) -> None:
    licensed.behave(license_unit="any")
    assert checkout(licensed, value=None, unit="None")["EntitlementsAllowed"][0]["Unit"] == "Count"
    assert licensed.held("l-1", "seats") == 1


@pytest.mark.parametrize(("knob", "answer"), [("all_or_nothing", "NoEntitlementsAllowedException"), ("partial", "ok")])
def test_several_names_are_granted_whole_or_in_part_by_the_knob(licensed: Emulator, knob: str, answer: str) -> None:
    licensed.behave(license_several=knob)
    both = [{"Name": "silver", "Unit": "None"}, {"Name": "seats", "Unit": "Count", "Value": "1"}]
    assert refused(licensed, Entitlements=both) == answer
    assert licensed.held("l-1", "seats") == (1 if answer == "ok" else 0)


def test_an_unlimited_entitlement_allows_any_amount_and_zero(licensed: Emulator) -> None:
    licensed.define_license(id="l-1", entitlements=[{"name": "seats", "unlimited": True}])
    assert refused(licensed, value="0") == "ok"
    assert refused(licensed, value="900000") == "ok"


@pytest.mark.parametrize("allowed", [True, False])
def test_overage_goes_beyond_the_count_only_by_the_knob(licensed: Emulator, allowed: bool) -> None:
    licensed.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 1, "overage": True}])
    licensed.behave(license_overage=allowed)
    assert refused(licensed, value="3") == ("ok" if allowed else "NoEntitlementsAllowedException")


# -- client tokens -----------------------------------------------------------------------------------


def test_a_repeated_client_token_takes_no_second_seat(licensed: Emulator) -> None:
    first, again = checkout(licensed, ClientToken="same"), checkout(licensed, ClientToken="same")
    assert first["LicenseConsumptionToken"] == again["LicenseConsumptionToken"]
    assert licensed.held("l-1", "seats") == 1


def test_an_answer_that_was_lost_is_found_by_its_client_token(licensed: Emulator) -> None:
    licensed.fault("CheckoutLicense", "drop_after")
    with pytest.raises(Exception, match=r"[Cc]onnection"):
        checkout(licensed, ClientToken="same")
    assert licensed.held("l-1", "seats") == 1, "it was accepted"
    checkout(licensed, ClientToken="same")
    assert licensed.held("l-1", "seats") == 1


@pytest.mark.parametrize(("knob", "answer"), [("ignored", "ok"), ("ValidationException", "ValidationException")])
def test_another_request_with_the_client_token_is_answered_by_the_knob(
    licensed: Emulator, knob: str, answer: str
) -> None:
    licensed.behave(license_client_token=knob)
    checkout(licensed, ClientToken="same")
    assert refused(licensed, value="2", ClientToken="same") == answer
    assert licensed.held("l-1", "seats") == 1


def test_a_client_token_is_forgotten_after_its_window(licensed: Emulator) -> None:
    licensed.behave(license_client_token_seconds=600)
    checkout(licensed, ClientToken="same")
    later(licensed, minutes=11)
    checkout(licensed, ClientToken="same")
    assert licensed.held("l-1", "seats") == 2


# -- drawing down ------------------------------------------------------------------------------------


def test_a_pool_is_drawn_down_for_good(licensed: Emulator) -> None:
    licensed.define_license(id="l-1", entitlements=[{"name": "credits", "max_count": 10}])
    token = checkout(licensed, "credits", "7", CheckoutType="PERPETUAL")["LicenseConsumptionToken"]
    later(licensed, days=3)
    assert refused(licensed, "credits", "4", CheckoutType="PERPETUAL") == "NoEntitlementsAllowedException"
    assert refused(licensed, "credits", "3", CheckoutType="PERPETUAL") == "ok"
    assert (licensed.drawn("l-1", "credits"), licensed.held("l-1", "credits")) == (10, 0)
    returned = code(lambda: manager(licensed.url).check_in_license(LicenseConsumptionToken=token))
    assert returned == "ValidationException"
    extended = code(lambda: manager(licensed.url).extend_license_consumption(LicenseConsumptionToken=token))
    assert extended == "InvalidParameterValueException"


# -- extending and returning -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["same", "rotated"])
def test_an_extension_ends_a_time_to_live_from_now(licensed: Emulator, kind: str) -> None:
    licensed.behave(license_extend_token=kind)
    token = checkout(licensed)["LicenseConsumptionToken"]
    later(licensed, minutes=40)
    answer = manager(licensed.url).extend_license_consumption(LicenseConsumptionToken=token)
    assert answer["Expiration"] == "2026-03-01T13:40:00Z"
    assert (answer["LicenseConsumptionToken"] == token) is (kind == "same")
    later(licensed, minutes=59)
    assert licensed.held("l-1", "seats") == 1
    by_old = code(lambda: manager(licensed.url).check_in_license(LicenseConsumptionToken=token))
    assert by_old == ("ok" if kind == "same" else "ResourceNotFoundException")


def test_a_dry_run_of_an_extension_extends_nothing(licensed: Emulator) -> None:
    token = checkout(licensed)["LicenseConsumptionToken"]
    later(licensed, minutes=30)
    answer = manager(licensed.url).extend_license_consumption(LicenseConsumptionToken=token, DryRun=True)
    assert answer["Expiration"] == "2026-03-01T13:00:00Z"


@pytest.mark.parametrize("wanted", ["ResourceNotFoundException", "ValidationException"])
def test_an_expired_checkout_cannot_be_extended(licensed: Emulator, wanted: str) -> None:
    licensed.behave(license_extend_expired=wanted)
    token = checkout(licensed)["LicenseConsumptionToken"]
    later(licensed, hours=1)
    ask = manager(licensed.url).extend_license_consumption
    assert code(lambda: ask(LicenseConsumptionToken=token)) == wanted


@pytest.mark.parametrize("wanted", ["ResourceNotFoundException", "ok"])
def test_a_second_check_in_is_answered_by_the_knob(licensed: Emulator, wanted: str) -> None:
    licensed.behave(license_check_in_again=wanted)
    token = checkout(licensed)["LicenseConsumptionToken"]
    ask = manager(licensed.url).check_in_license
    assert [code(lambda: ask(LicenseConsumptionToken=token)) for _ in range(2)] == ["ok", wanted]


def test_another_account_cannot_return_a_seat(licensed: Emulator) -> None:
    licensed.define_caller(access_key="other", account="999999999999")
    token = checkout(licensed)["LicenseConsumptionToken"]
    ask = manager(licensed.url, workload="other").check_in_license
    assert code(lambda: ask(LicenseConsumptionToken=token)) == "ResourceNotFoundException"
    assert licensed.held("l-1", "seats") == 1


# -- the contract ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grant",
    [Grant(status=each) for each in GrantStatus if each is not GrantStatus.ACTIVE] + [Grant(type=GrantType.DELEGATE)],
    ids=lambda grant: f"{grant.status.value}-{grant.type.value}",
)
def test_a_grant_that_is_not_active_is_shown_and_entitles_to_nothing(licensed: Emulator, grant: Grant) -> None:
    licensed.grant_license("l-1", grant=grant)
    assert refused(licensed) == "NoEntitlementsAllowedException"
    (shown,) = manager(licensed.url).list_received_licenses()["Licenses"]
    assert (shown["ReceivedMetadata"]["ReceivedStatus"], shown["ReceivedMetadata"]["GrantType"]) == (
        grant.status.value,
        grant.type.value,
    )


def test_activating_a_second_license_disables_the_first(licensed: Emulator) -> None:
    licensed.define_license(id="l-2", sku=SKU, entitlements=[{"name": "seats", "max_count": 9}])
    grants = {each["id"]: each["grants"]["123456789012"]["status"] for each in licensed.licenses.report(START)}
    assert grants == {"l-1": "DISABLED", "l-2": "ACTIVE"}
    licensed.grant_license("l-1")
    assert refused(licensed, value="3") == "NoEntitlementsAllowedException"


def test_another_issuers_license_of_the_product_is_not_checked_out(licensed: Emulator) -> None:
    licensed.define_license(
        id="l-2", sku=SKU, fingerprint=OTHER_ISSUER, entitlements=[{"name": "seats", "max_count": 99}]
    )
    assert refused(licensed, value="3") == "NoEntitlementsAllowedException"
    assert refused(licensed, value="3", KeyFingerprint=OTHER_ISSUER) == "ok"
    assert {each["LicenseArn"] for each in manager(licensed.url).list_received_licenses()["Licenses"]} == {
        "arn:aws:license-manager::294406891311:license:l-1",
        "arn:aws:license-manager::999999999999:license:l-2",
    }


@pytest.mark.parametrize("wanted", ["NoEntitlementsAllowedException", "ResourceNotFoundException"])
def test_an_unknown_product_is_refused_by_the_knob(licensed: Emulator, wanted: str) -> None:
    licensed.behave(license_unknown_sku=wanted)
    assert refused(licensed, ProductSKU="prod-9") == wanted


def test_a_contract_that_ended_allows_no_new_checkout_until_it_is_renewed(licensed: Emulator) -> None:
    seats(licensed, valid_until="2026-03-01T12:30:00Z")
    token = checkout(licensed)["LicenseConsumptionToken"]
    later(licensed, minutes=30)
    assert refused(licensed) == "NoEntitlementsAllowedException"
    assert manager(licensed.url).list_received_licenses()["Licenses"][0]["Status"] == "EXPIRED"
    assert licensed.held("l-1", "seats") == 1, "a seat outlasts the contract"
    arn = "arn:aws:license-manager::294406891311:license:l-1"
    licensed.define_license(id="l-1", valid_until="2027-03-01T12:30:00Z")
    assert refused(licensed) == "ok"
    assert manager(licensed.url).get_license(LicenseArn=arn)["License"]["Version"] == "3"
    manager(licensed.url).extend_license_consumption(LicenseConsumptionToken=token)


@pytest.mark.parametrize(("knob", "end"), [("runs_on", "13:00:00"), ("capped", "12:30:00"), ("refused", "13:00:00")])
def test_a_checkout_near_the_contracts_end_ends_by_the_knob(licensed: Emulator, knob: str, end: str) -> None:
    seats(licensed, valid_until="2026-03-01T12:30:00Z")
    licensed.behave(license_past_end=knob)
    answer = checkout(licensed)
    assert answer["Expiration"] == f"2026-03-01T{end}Z"
    later(licensed, minutes=35)
    ask = manager(licensed.url).extend_license_consumption
    extended = code(lambda: ask(LicenseConsumptionToken=answer["LicenseConsumptionToken"]))
    assert extended == ("ok" if knob == "runs_on" else "ResourceNotFoundException")


def test_a_smaller_contract_takes_no_seat_away(licensed: Emulator) -> None:
    tokens = [checkout(licensed)["LicenseConsumptionToken"] for _ in range(2)]
    seats(licensed, most=1)
    for token in tokens:
        manager(licensed.url).extend_license_consumption(LicenseConsumptionToken=token)
    assert licensed.held("l-1", "seats") == 2
    manager(licensed.url).check_in_license(LicenseConsumptionToken=tokens[0])
    assert refused(licensed) == "NoEntitlementsAllowedException"


def test_an_upgrade_while_seats_are_out_gives_more_at_once(licensed: Emulator) -> None:
    checkout(licensed, value="2")
    seats(licensed, most=3)
    assert refused(licensed) == "ok"


@pytest.mark.parametrize("shared", [True, False])
def test_accounts_share_a_count_unless_the_knob_says_otherwise(licensed: Emulator, shared: bool) -> None:
    licensed.define_caller(access_key="member", account="999999999999")
    licensed.grant_license("l-1", "999999999999")
    licensed.behave(license_count_shared=shared)
    checkout(licensed, value="2")
    answer = refused(licensed, through=manager(licensed.url, workload="member"))
    assert answer == ("NoEntitlementsAllowedException" if shared else "ok")


# -- regions, forms, refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "location"),
    [
        ("region", "us-east-1"),
        ("url", "https://license-manager.us-east-1.amazonaws.com"),
        ("absent", None),
        ("foreign", "https://license-manager.example.com"),
    ],
)
def test_another_region_redirects_where_only_the_home_region_answers(
    licensed: Emulator, form: str, location: str | None
) -> None:
    licensed.behave(license_regions="home", license_location=form)
    with pytest.raises(ClientError) as error:
        checkout(licensed, through=manager(licensed.url, region="eu-west-1"))
    assert error.value.response["Error"]["Code"] == "RedirectException"
    assert error.value.response.get("Location") == location
    assert refused(licensed) == "ok"


@pytest.mark.parametrize(("form", "zone"), [("zulu", "Z"), ("offset", "+00:00"), ("bare", "")])
def test_instants_are_written_in_three_forms(licensed: Emulator, form: str, zone: str) -> None:
    licensed.behave(license_dates=form)
    assert checkout(licensed)["Expiration"] == f"2026-03-01T13:00:00{zone}"
    shape = MODEL.shape_for("ISO8601DateTime")
    assert bool(re.match(shape.metadata["pattern"], f"2026-03-01T13:00:00{zone}")) is (
        LicenseDates(form) is not LicenseDates.BARE
    )


@pytest.mark.parametrize(("form", "length"), [("absent", None), ("empty", 0), ("noise", 5000)])
def test_the_signed_token_is_absent_empty_or_noise(licensed: Emulator, form: str, length: int | None) -> None:
    licensed.behave(license_signed_token=form)
    token = checkout(licensed).get("SignedToken")
    assert (None if token is None else len(token)) == length


@pytest.mark.parametrize(
    ("kind", "member", "left"),
    [
        ("no_token", "LicenseConsumptionToken", None),
        ("no_expiration", "Expiration", None),
        ("no_entitlements", "EntitlementsAllowed", []),
        ("less", "EntitlementsAllowed", [{"Name": "seats", "Unit": "Count", "Value": "1"}]),
        ("other_name", "EntitlementsAllowed", [{"Name": "seats-other", "Unit": "Count", "Value": "2"}]),
    ],
)
def test_an_answer_may_be_no_grant_for_one_call(licensed: Emulator, kind: str, member: str, left: Any) -> None:
    licensed.fault("CheckoutLicense", f"checkout_{kind}")
    assert checkout(licensed, value="2").get(member) == left
    assert licensed.held("l-1", "seats") == 2, "it is a checkout all the same"


@pytest.mark.parametrize("denial", ["AccessDeniedException", "AuthorizationException"])
@pytest.mark.parametrize("operation", sorted(license_manager.OPERATIONS))
def test_a_caller_without_permission_is_refused_every_operation(
    licensed: Emulator, operation: str, denial: str
) -> None:
    licensed.behave(allowed=False, license_denial=denial)
    with pytest.raises(ClientError) as error:
        manager(licensed.url)._make_api_call(operation, {})
    assert error.value.response["Error"]["Code"] == denial
    assert f"license-manager:{operation}" in error.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("signer", "answer"),
    [
        ({"signature_version": UNSIGNED}, "MissingAuthenticationTokenException"),
        ({}, "InvalidSignatureException"),
    ],
    ids=["unsigned", "for-another-service"],
)
def test_a_request_that_is_not_signed_for_license_manager_is_refused(
    licensed: Emulator, signer: dict[str, Any], answer: str
) -> None:
    through = manager(licensed.url, workload="pod-signing", **signer)
    if not signer:
        through.meta.events.register("choose-signer.license-manager", lambda **_: "v4")
        through._request_signer._signing_name = "aws-marketplace"
    assert refused(licensed, through=through) == answer


# -- looking -----------------------------------------------------------------------------------------


def test_usage_counts_what_is_held_and_drawn(licensed: Emulator) -> None:
    licensed.define_license(
        id="l-1", entitlements=[{"name": "seats", "max_count": 9}, {"name": "gold", "unit": "None"}]
    )
    checkout(licensed, value="2")
    checkout(licensed, value="3", CheckoutType="PERPETUAL")
    arn = licensed.define_license(id="l-1").arn
    usage = manager(licensed.url).get_license_usage(LicenseArn=arn)["LicenseUsage"]["EntitlementUsages"]
    assert usage == [
        {"Name": "seats", "ConsumedValue": "5", "MaxCount": "9", "Unit": "Count"},
        {"Name": "gold", "ConsumedValue": "0", "Unit": "None"},
    ]


def test_received_licenses_come_in_pages_and_by_filter(licensed: Emulator) -> None:
    for number in range(2, 5):
        licensed.define_license(id=f"l-{number}", sku=f"prod-{number}", entitlements=[{"name": "seats"}])
    pages, more = [], {}
    while True:
        page = manager(licensed.url).list_received_licenses(MaxResults=3, **more)
        pages.append(len(page["Licenses"]))
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    assert pages == [3, 1]
    wanted = [{"Name": "ProductSKU", "Values": ["prod-3"]}, {"Name": "Status", "Values": ["AVAILABLE"]}]
    found = manager(licensed.url).list_received_licenses(Filters=wanted)["Licenses"]
    assert [each["ProductSKU"] for each in found] == ["prod-3"]


@pytest.mark.parametrize("operation", ["get_license", "get_license_usage"])
def test_a_license_of_another_account_cannot_be_looked_at(licensed: Emulator, operation: str) -> None:
    licensed.define_caller(access_key="other", account="999999999999")
    ask = getattr(manager(licensed.url, workload="other"), operation)
    arn = licensed.define_license(id="l-1").arn
    assert code(lambda: ask(LicenseArn=arn)) == "InvalidParameterValueException"


# -- the model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted({*license_manager.OPERATIONS, "GetAccessToken"}))
def test_every_error_the_model_names_can_be_had_here(licensed: Emulator, operation: str) -> None:
    ask = manager(licensed.url)
    for shape in MODEL.operation_model(operation).error_shapes:
        licensed.fault(operation, shape.name)
        with pytest.raises(ClientError) as error:
            ask._make_api_call(operation, {})
        assert error.value.response["Error"]["Code"] == shape.name
        status = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status == (500 if shape.name == "ServerInternalException" else 400)
    assert licensed.checkouts() == []


def test_throttling_can_come_with_429_too(licensed: Emulator) -> None:
    licensed.fault("CheckoutLicense", "RateLimitExceededException", status=429)
    with pytest.raises(ClientError) as error:
        checkout(licensed)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_the_units_are_those_of_the_model() -> None:
    assert list(UNITS) == MODEL.shape_for("EntitlementDataUnit").enum


@pytest.mark.parametrize("operation", sorted(license_manager.OPERATIONS))
def test_an_answer_has_the_members_of_the_model_and_no_others(licensed: Emulator, operation: str) -> None:
    licensed.behave(license_signed_token="noise")
    token, arn = checkout(licensed, NodeId="node")["LicenseConsumptionToken"], licensed.define_license(id="l-1").arn
    checkout_body = {
        "ProductSKU": SKU,
        "CheckoutType": "PROVISIONAL",
        "KeyFingerprint": MARKETPLACE_FINGERPRINT,
        "Entitlements": [{"Name": "gold", "Unit": "None"}],
        "ClientToken": "model",
        "NodeId": "node",
    }
    bodies: dict[str, dict[str, Any]] = {
        "CheckoutLicense": checkout_body,
        "CheckInLicense": {"LicenseConsumptionToken": token},
        "ExtendLicenseConsumption": {"LicenseConsumptionToken": token},
        "GetLicense": {"LicenseArn": arn},
        "GetLicenseUsage": {"LicenseArn": arn},
    }
    seen: list[bytes] = []
    through = manager(licensed.url, workload=f"pod-{operation}")
    through.meta.events.register("before-parse", lambda response_dict, **_: seen.append(response_dict["body"]))
    through._make_api_call(operation, bodies.get(operation, {}))
    shape = MODEL.operation_model(operation).output_shape
    _conforms(json.loads(seen[0]), shape)


def _conforms(value: Any, shape: Any) -> None:
    if shape is None or shape.type_name == "structure":
        members = {} if shape is None else shape.members
        assert set(value) <= set(members)
        for name, each in value.items():
            _conforms(each, members[name])
    elif shape.type_name == "list":
        for each in value:
            _conforms(each, shape.member)
    else:
        kinds = {"string": str, "boolean": bool, "long": int, "integer": int}
        assert isinstance(value, kinds[shape.type_name])
        assert not getattr(shape, "enum", None) or value in shape.enum


# -- telling it --------------------------------------------------------------------------------------


def order(aws: Emulator, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(f"{aws.url}/_emulator/{verb}", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_licenses_are_made_and_reported_over_http(unlicensed: Emulator) -> None:
    aws = unlicensed
    made = {"id": "l-9", "sku": SKU, "entitlements": [{"name": "seats", "max_count": 3}]}
    assert order(aws, "licenses", made)[0] == 200
    token = checkout(aws, value="2")["LicenseConsumptionToken"]
    with urllib.request.urlopen(f"{aws.url}/_emulator/licenses") as answer:
        text = answer.read().decode()
    found = json.loads(text)
    assert found["licenses"][0]["entitlements"] == [
        {"name": "seats", "unit": "Count", "max_count": 3, "held": 2, "drawn": 0}
    ]
    assert [(each["workload"], each["amounts"], each["state"]) for each in found["checkouts"]] == [
        ("pod-a", {"seats": 2}, "held")
    ]
    assert token not in text


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("licenses", {"entitlements": [{"name": "x"}]}, "sku"),
        ("licenses", {"sku": SKU}, "entitlements"),
        ("licenses", {"sku": SKU, "entitlements": []}, "entitlements"),
        ("licenses", {"sku": SKU, "entitlements": [{"name": "x"}, {"name": "x"}]}, "entitlements"),
        ("licenses", {"sku": SKU, "entitlements": [{"name": "x", "unit": "Seats"}]}, "unit"),
        ("licenses", {"sku": SKU, "entitlements": [{"name": "x", "max": 3}]}, "max"),
        ("licenses", {"sku": SKU, "entitlements": [{"name": "x", "unit": "None", "max_count": 3}]}, "max_count"),
        ("licenses", {"sku": SKU, "entitlements": [{"name": "x"}], "fingerprint": "mine"}, "fingerprint"),
        ("licenses", {"sku": SKU, "entitlements": [{"name": "x"}], "id": "license/1"}, "id"),
        (
            "licenses",
            {"sku": SKU, "entitlements": [{"name": "x"}], "valid_until": "2001-01-01T00:00:00Z"},
            "valid_until",
        ),
        ("grants", {"license": "l-404"}, "license"),
        ("grants", {"status": "ACTIVE"}, "license"),
        ("grants", {"license": "l-1", "status": "GONE"}, "status"),
        ("create-token", {"license": "l-404"}, "license"),
        ("delete-token", {}, "token_id"),
    ],
)
def test_a_bad_order_about_licenses_is_told_its_field(unlicensed: Emulator, verb: str, body: Any, field: str) -> None:
    status, answer = order(unlicensed, verb, body)
    assert status == 400
    assert answer["error"].startswith(f"{field}: ")
    assert unlicensed.license_report() == {"licenses": [], "checkouts": [], "refresh_tokens": []}


# -- anywhere ----------------------------------------------------------------------------------------


def exchange(aws: Emulator, token: str, *, signed: bool = False) -> str:
    through = manager(aws.url) if signed else manager(aws.url, signature_version=UNSIGNED)
    return str(through.get_access_token(Token=token)["AccessToken"])


def assume(aws: Emulator, token: str, role: str = ARN) -> Any:
    client = boto3.client(
        "sts", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY.merge(Config(signature_version=UNSIGNED))
    )
    return client.assume_role_with_web_identity(RoleArn=role, RoleSessionName="pod", WebIdentityToken=token)


@pytest.mark.parametrize("signed", [False, True])
def test_a_refresh_token_becomes_credentials_that_check_out(licensed: Emulator, signed: bool) -> None:
    token_id, refresh = licensed.create_token("l-1", ARN)
    found = assume(licensed, exchange(licensed, refresh, signed=signed))["Credentials"]
    through = boto3.client(
        "license-manager",
        endpoint_url=licensed.url,
        region_name="us-east-1",
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"],
    )
    checkout(licensed, through=through)
    assert [each.workload for each in licensed.checkouts()] == [token_id]


def test_a_refresh_token_that_is_unknown_deleted_or_over_is_refused(licensed: Emulator) -> None:
    token_id, refresh = licensed.create_token("l-1")
    shown = licensed.license_report()["refresh_tokens"]
    assert shown == [{"token_id": token_id, "license_arn": "arn:aws:license-manager::294406891311:license:l-1"}]
    assert code(lambda: exchange(licensed, refresh + "x")) == "AuthorizationException"
    over = licensed.tokens.create("arn", (), 1, datetime.now(UTC) - timedelta(days=2))[1]
    assert code(lambda: exchange(licensed, over)) == "AuthorizationException"
    assert licensed.delete_token(token_id)
    assert code(lambda: exchange(licensed, refresh)) == "AuthorizationException"


def test_sts_refuses_an_access_token_that_is_forged_over_or_for_another_role(licensed: Emulator) -> None:
    refresh = licensed.create_token("l-1", ARN)[1]
    access = exchange(licensed, refresh)
    assert code(lambda: assume(licensed, access + "x")) == "InvalidIdentityToken"
    assert code(lambda: assume(licensed, access, "arn:aws:iam::123456789012:role/other")) == "AccessDenied"
    over = licensed.tokens.exchange(refresh, datetime.now(UTC) - timedelta(hours=2))
    assert code(lambda: assume(licensed, over)) == "ExpiredTokenException"


# -- the flag ----------------------------------------------------------------------------------------


def test_a_flag_takes_a_license_as_json_or_a_file_with_several(tmp_path: Path) -> None:
    one = {"sku": SKU, "entitlements": [{"name": "seats"}]}
    assert load_objects("--license", json.dumps(one), "{}") == [one]
    (tmp_path / "two.yaml").write_text("- {sku: a, entitlements: [{name: x}]}\n- {sku: b, entitlements: [{name: y}]}\n")
    assert [each["sku"] for each in load_objects("--license", str(tmp_path / "two.yaml"), "{}")] == ["a", "b"]


@pytest.mark.parametrize("given", ["{sku: prod-1", "nowhere.yaml", "["])
def test_a_flag_that_is_no_license_is_refused_with_its_name(given: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(given)
    for value in (given, str(tmp_path / "bad.yaml")):
        with pytest.raises(BadCommand, match="--license"):
            load_objects("--license", value, cli.LICENSE_EXAMPLE)


def test_an_emulator_with_the_flag_starts_with_the_license() -> None:
    arguments = argparse.ArgumentParser()
    flags.add_arguments(arguments)
    given = json.dumps({"id": "l-7", "sku": SKU, "entitlements": [{"name": "seats"}]})
    made = cli._emulator(arguments.parse_args(["--license", given, "--key-bits", "1024"]), cli._Narrator(as_json=True))
    assert made.licenses.license("l-7") is not None


def test_an_emulator_with_the_flag_starts_with_the_customer() -> None:
    arguments = argparse.ArgumentParser()
    flags.add_arguments(arguments)
    given = json.dumps({"id": "acme", "account": "444455556666"})
    made = cli._emulator(arguments.parse_args(["--customer", given, "--key-bits", "1024"]), cli._Narrator(as_json=True))
    assert made.saas.customer("acme").account == "444455556666"
