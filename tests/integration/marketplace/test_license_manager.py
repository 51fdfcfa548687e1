"""License Manager is called as AWS describes it, in the region where the license is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.classify import TABLE
from sidecar.entitlement.contract import CheckedOut, Entitlement
from sidecar.marketplace.client import LICENSES, Marketplace
from sidecar.marketplace.license_manager import (
    KEY_FINGERPRINT,
    CheckedIn,
    Checkout,
    CheckoutType,
    Extended,
    LicenseTerm,
    check_in,
    checkout,
    extend,
    get_license,
    new_client_token,
    redirect_region,
)
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.quick_dataclasses import replace
from tests.integration.gate.support import KEYS, Rig

from .license_server import Asked, LicenseServer, Play, Reply, granted, refused

SEATS = Checkout(
    sku="prod-4kq7example2x", entitlement=Entitlement(name="seats", unit="Count", value="2"), client_token="a" * 32
)
Open = Callable[[Play], tuple[Marketplace, LicenseServer]]


@pytest.fixture
def aws(rig: Rig) -> Iterator[Open]:
    """Return a client of a License Manager that plays, for a workload in eu-west-1."""
    with ExitStack() as running:

        def opened(play: Play, region: str = "eu-west-1") -> tuple[Marketplace, LicenseServer]:
            server = running.enter_context(LicenseServer(play))
            seen = running.enter_context(rig.seen_by_sdk(server.url, KEYS))
            return Marketplace(region=region, endpoint_url=server.url, env=seen, service=LICENSES), server

        yield opened


def test_a_checkout_is_one_counted_entitlement_of_marketplaces_issuer(aws: Open) -> None:
    marketplace, server = aws(granted)
    found = checkout(marketplace, SEATS)
    (asked,) = server.asked
    assert (asked.operation, asked.region) == ("CheckoutLicense", "eu-west-1")
    assert asked.body == {
        "ProductSKU": "prod-4kq7example2x",
        "CheckoutType": "PROVISIONAL",
        "KeyFingerprint": "aws:294406891311:AWS/Marketplace:issuer-fingerprint",
        "Entitlements": [{"Name": "seats", "Unit": "Count", "Value": "2"}],
        "ClientToken": "a" * 32,
    }
    assert isinstance(found, CheckedOut)
    assert (found.allowed, found.region, found.request_id) == ((SEATS.entitlement,), "eu-west-1", "request-1")
    assert found.expires_at == datetime(2026, 11, 28, 23, tzinfo=UTC)
    assert found.consumption_token not in repr(found)


def test_a_feature_is_asked_for_without_a_value(aws: Open) -> None:
    marketplace, server = aws(granted)
    checkout(marketplace, replace(SEATS, entitlement=Entitlement(name="pro", unit="None", value="")))
    assert server.asked[0].body["Entitlements"] == [{"Name": "pro", "Unit": "None"}]


def test_a_drawdown_is_perpetual(aws: Open) -> None:
    marketplace, server = aws(granted)
    checkout(marketplace, replace(SEATS, checkout_type=CheckoutType.PERPETUAL))
    assert server.asked[0].body["CheckoutType"] == "PERPETUAL"


def test_each_client_token_is_new_and_of_32_hex_digits() -> None:
    tokens = {new_client_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in tokens)


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("us-west-2", "us-west-2"),
        (" us-west-2 ", "us-west-2"),
        ("license-manager.us-west-2.amazonaws.com", "us-west-2"),
        ("https://license-manager.us-west-2.amazonaws.com/", "us-west-2"),
        ("https://license-manager-fips.us-west-2.amazonaws.com:443/x", "us-west-2"),
        ("https://license-manager.us-west-2.api.aws", "us-west-2"),
        ("https://license-manager.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("http://license-manager.us-west-2.amazonaws.com", ""),
        ("https://license-manager.us-west-2.amazonaws.com.evil.example", ""),
        ("https://us-west-2.amazonaws.com", ""),
        ("https://evil.example/license-manager.us-west-2.amazonaws.com", ""),
        ("https://user@license-manager.us-west-2.amazonaws.com", ""),
        ("https://license-manager.us-west-2.amazonaws.com:8443", ""),
        ("https://[::1", ""),
        ("us-west-2/../..", ""),
        ("US-WEST-2", ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_redirect_names_a_region_or_a_host_of_license_manager(location: object, region: str) -> None:
    assert redirect_region(location) == region


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("us-west-2", "us-west-2"),
        ("https://license-manager.us-west-2.amazonaws.com", "us-west-2"),
        ("https://evil.example", "us-east-1"),
        ("cn-north-1", "us-east-1"),
        ("eu-west-1", "us-east-1"),
        (None, "us-east-1"),
    ],
)
def test_one_redirect_is_followed_in_this_partition_else_home(aws: Open, location: str | None, followed: str) -> None:
    said = {"Location": location} if location else {}
    marketplace, server = aws(
        lambda asked: refused("RedirectException", **said) if asked.region == "eu-west-1" else granted(asked)
    )
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CheckedOut)
    assert found.region == followed
    assert [one.region for one in server.asked] == ["eu-west-1", followed]
    assert server.asked[0].body == server.asked[1].body


def test_a_second_redirect_is_not_followed(aws: Open) -> None:
    marketplace, server = aws(lambda asked: refused("RedirectException", Location="us-west-2"))
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CallFailed)
    assert (found.row.reason, found.row.answer) == ("license_in_other_region", AnswerClass.CONFIG)
    assert [one.region for one in server.asked] == ["eu-west-1", "us-west-2", "us-east-1"]
    del server.asked[:]
    checkout(replace(marketplace, region="us-east-1"), SEATS)
    assert [one.region for one in server.asked] == ["us-east-1", "us-west-2"]


@pytest.mark.parametrize("code", ["RedirectException", "ResourceNotFoundException"])
def test_home_is_asked_where_a_redirect_leads_nowhere(aws: Open, code: str) -> None:
    says = {"eu-west-1": refused("RedirectException", Location="us-west-2"), "us-west-2": refused(code)}
    marketplace, _ = aws(lambda asked: says.get(asked.region) or granted(asked))
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CheckedOut)
    assert found.region == "us-east-1"


def test_a_license_that_is_not_found_is_looked_for_at_home_once(aws: Open) -> None:
    marketplace, server = aws(
        lambda asked: refused("ResourceNotFoundException") if asked.region == "eu-west-1" else granted(asked)
    )
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CheckedOut)
    assert found.region == "us-east-1"
    marketplace, server = aws(lambda asked: refused("ResourceNotFoundException"))
    missing = checkout(marketplace, SEATS)
    assert isinstance(missing, CallFailed)
    assert (missing.row.reason, missing.row.answer) == ("license_not_found", AnswerClass.DENY)
    assert [one.region for one in server.asked] == ["eu-west-1", "us-east-1"]


def test_outside_the_commercial_partition_there_is_no_home_to_ask(aws: Open) -> None:
    marketplace, server = aws(lambda asked: refused("ResourceNotFoundException"))
    checkout(replace(marketplace, region="us-gov-west-1"), SEATS)
    checkout(replace(marketplace, region="cn-north-1"), SEATS)
    assert [one.region for one in server.asked] == ["us-gov-west-1", "cn-north-1"]


@pytest.mark.parametrize(
    ("code", "status", "reason", "unreachable"),
    [
        ("NoEntitlementsAllowedException", 400, "no_entitlements_allowed", False),
        ("AuthorizationException", 400, "access_denied", False),
        ("RateLimitExceededException", 400, "throttled", True),
        ("RateLimitExceededException", 429, "throttled", True),
        ("ServerInternalException", 500, "aws_failing", True),
    ],
)
def test_an_error_of_aws_is_one_call_and_its_row(
    aws: Open, code: str, status: int, reason: str, unreachable: bool
) -> None:
    marketplace, server = aws(lambda asked: refused(code, status))
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CallFailed)
    assert (found.code, found.row.reason, found.row.unreachable) == (code, reason, unreachable)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [{}, {"LicenseConsumptionToken": "x"}])
def test_a_200_that_is_not_awss_is_no_answer(aws: Open, body: dict[str, str]) -> None:
    marketplace, _ = aws(lambda asked: Reply(body=body, of_aws=False))
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CallFailed)
    assert found.row.reason == "answer_not_from_aws"


@pytest.mark.parametrize("odd", [None, "text", 7, [None], [{"Name": 3}], {"Name": "seats"}], ids=str)
def test_an_answer_of_another_form_allows_nothing(aws: Open, odd: object) -> None:
    marketplace, _ = aws(lambda asked: granted(asked, EntitlementsAllowed=odd))
    found = checkout(marketplace, SEATS)
    assert isinstance(found, CallFailed) or SEATS.entitlement not in found.allowed


def test_aws_out_of_reach_leaves_the_checkout_open(rig: Rig) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with rig.seen_by_sdk(url, KEYS) as seen:
            found = checkout(Marketplace(region="eu-west-1", endpoint_url=url, env=seen, service=LICENSES), SEATS)
    assert isinstance(found, CallFailed)
    assert found.row.unreachable


def test_a_seat_is_extended_where_it_was_checked_out_and_its_new_token_taken(aws: Open) -> None:
    marketplace, server = aws(
        lambda asked: Reply(body={"LicenseConsumptionToken": "next", "Expiration": "2026-11-28T23:30:00"})
    )
    found = extend(marketplace, "held", "us-east-1")
    assert isinstance(found, Extended)
    assert (found.consumption_token, found.expires_at) == ("next", datetime(2026, 11, 28, 23, 30, tzinfo=UTC))
    assert "next" not in repr(found)
    assert server.asked == [
        Asked(operation="ExtendLicenseConsumption", region="us-east-1", body={"LicenseConsumptionToken": "held"})
    ]


def test_an_extension_without_a_token_keeps_the_old_one(aws: Open) -> None:
    marketplace, _ = aws(lambda asked: Reply(body={"Expiration": "later"}))
    found = extend(marketplace, "held")
    assert isinstance(found, Extended)
    assert (found.consumption_token, found.expires_at) == ("held", None)


def test_an_answer_without_token_and_expiration_extends_nothing(aws: Open) -> None:
    marketplace, _ = aws(lambda asked: Reply())
    found = extend(marketplace, "held")
    assert isinstance(found, CallFailed)
    assert (found.row.reason, found.row.answer) == ("extension_not_in_answer", AnswerClass.RETRY)


def test_a_seat_that_ran_out_cannot_be_extended(aws: Open) -> None:
    marketplace, _ = aws(lambda asked: refused("ResourceNotFoundException"))
    found = extend(marketplace, "held")
    assert isinstance(found, CallFailed)
    assert found.row.reason == "seat_expired"


def test_a_seat_is_checked_in_by_its_token_alone(aws: Open) -> None:
    marketplace, server = aws(lambda asked: Reply())
    assert check_in(marketplace, "held", "us-east-1") == CheckedIn(already=False, request_id="request-1")
    assert (server.asked[0].region, server.asked[0].body) == ("us-east-1", {"LicenseConsumptionToken": "held"})


def test_a_seat_that_is_gone_is_checked_in_already(aws: Open) -> None:
    marketplace, _ = aws(lambda asked: refused("ResourceNotFoundException"))
    found = check_in(marketplace, "held")
    assert isinstance(found, CheckedIn)
    assert found.already


def test_a_conflict_at_check_in_is_tried_once_more_and_no_oftener(aws: Open) -> None:
    answers = [refused("ConflictException"), Reply()]
    marketplace, _ = aws(lambda asked: answers.pop(0))
    assert isinstance(check_in(marketplace, "held"), CheckedIn)
    marketplace, server = aws(lambda asked: refused("ConflictException"))
    assert isinstance(check_in(marketplace, "held"), CallFailed)
    assert len(server.asked) == 2


def test_the_end_of_a_license_is_read(aws: Open) -> None:
    validity = {"Begin": "2026-01-01T00:00:00Z", "End": "2027-01-01T00:00:00+00:00"}
    marketplace, server = aws(lambda asked: Reply(body={"License": {"Status": "AVAILABLE", "Validity": validity}}))
    found = get_license(marketplace, "arn:aws:license-manager::294406891311:license:l-0123", "us-east-1")
    assert isinstance(found, LicenseTerm)
    assert (found.ends_at, found.status) == (datetime(2027, 1, 1, tzinfo=UTC), "AVAILABLE")
    assert server.asked[0].body == {"LicenseArn": "arn:aws:license-manager::294406891311:license:l-0123"}


def test_the_fingerprint_is_marketplaces() -> None:
    assert KEY_FINGERPRINT == "aws:294406891311:AWS/Marketplace:issuer-fingerprint"


Call = Callable[[Marketplace], object]
CALLS: Mapping[AnsweredBy, Call] = {
    AnsweredBy.CHECKOUT_LICENSE: lambda aws: checkout(aws, SEATS),
    AnsweredBy.CHECK_IN_LICENSE: lambda aws: check_in(aws, "held"),
    AnsweredBy.EXTEND_LICENSE: lambda aws: extend(aws, "held"),
    AnsweredBy.GET_LICENSE: lambda aws: get_license(aws, "arn:aws:license-manager::294406891311:license:l-0"),
}
DECIDED_HERE = {"entitlement_not_in_answer", "extension_not_in_answer"}


@pytest.mark.parametrize("asked", CALLS, ids=lambda asked: str(asked.value))
def test_every_code_of_the_table_comes_back_from_its_call(aws: Open, asked: AnsweredBy) -> None:
    """Codes of HTTP status and clock are the same for every service, and driven for the others."""
    said: list[str] = []
    marketplace, _ = aws(lambda _: refused(said[0]), region="us-east-1")
    codes = {code for code, by in TABLE if by is asked and not code.isdigit() and ":" not in code} - DECIDED_HERE
    assert len(codes) > 30
    for code in sorted(codes):
        said[:] = [code]
        found = CALLS[asked](marketplace)
        if isinstance(found, CheckedIn):
            assert (code, found.already) == ("ResourceNotFoundException", True)
            continue
        assert isinstance(found, CallFailed)
        assert (found.code, found.row) == (code, TABLE[code, asked])
