"""Seats are extended, taken again and checked in by the child, against the emulator and a server that plays."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.clock import SystemClock
from sidecar.emulator import Emulator
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.seats import HeldSeat, as_text, from_text
from sidecar.gate.license_job import LicenseJob
from sidecar.gate.license_messages import CHECK_IN, RENEW, TERM, LicenseRequest, SeatResult, TermResult
from sidecar.ledger import kept_file
from sidecar.quick_dataclasses import replace
from tests.integration.gate.support import KEYS, Rig
from tests.integration.gate.test_checkout_license import SEAT, SKU, ask, aws, kept, opened
from tests.integration.marketplace.license_server import LicenseServer, Play, Reply, granted, refused

__all__ = ["aws"]
POD: Final = "pod-1"
GONE: Final = ("ResourceNotFoundException", "ValidationException", "InvalidParameterValueException")
NOW: Final = datetime.now(UTC)
HELD: Final = HeldSeat(
    name="seats",
    unit="Count",
    value="1",
    consumption_token="token-of-the-seat",
    expires_at=NOW + timedelta(minutes=30),
    region="us-east-1",
    license_arn="arn:aws:license-manager::294406891311:license:l-1",
    taken_at=NOW - timedelta(minutes=30),
)


def done(rig: Rig, url: str, action: str, *seats: HeldSeat, **more: Any) -> list[dict[str, Any]]:
    """The lines of one job, without its pauses."""
    lines: list[str] = []
    fields: dict[str, Any] = {
        "action": action,
        "sku": SKU,
        "workload": POD,
        "region": "us-east-1",
        "state_dir": str(rig.state_dir),
        "endpoint_url": url,
        "clock_url": None,
        "seats": seats,
        "client_tokens": tuple(f"client{number}" for number, _ in enumerate(seats)),
    }
    request = LicenseRequest(**(fields | more))
    passed = LicenseRequest.from_payload({k: v for k, v in json.loads(request.as_json()).items() if k != "job"})
    assert passed == request
    with rig.seen_by_sdk(url, KEYS) as seen:
        job = LicenseJob(request=passed, env=seen, clock=SystemClock(), emit=lines.append)
        job.calls.pause = lambda _: None
        job.run()
    return [json.loads(line) for line in lines]


def result(line: dict[str, Any]) -> SeatResult:
    return SeatResult.from_json(json.dumps(line))


def on_disk(rig: Rig, pod: str = POD) -> tuple[HeldSeat, ...]:
    return from_text(kept_file.read(kept_file.seats_path(rig.state_dir, pod)), pod, SKU)


def played(rig: Rig, play: Play, action: str = RENEW, seat: HeldSeat = HELD) -> tuple[SeatResult, LicenseServer]:
    with LicenseServer(play) as server:
        first, *_ = done(rig, server.url, action, seat)
    return result(first), server


def by(operation: str, then: Reply, others: Callable[[Any], Reply] = granted) -> Play:
    return lambda asked: then if asked.operation == operation else others(asked)


# -- extended


def test_a_seat_is_extended_and_its_new_token_is_kept(rig: Rig, aws: Emulator) -> None:
    aws.behave(license_extend_token="rotated")
    first = ask(rig, aws, SEAT)
    kept(first)
    (seat,) = opened(first).held
    line, status = done(rig, aws.url, RENEW, seat)
    found = result(line)
    assert found.seat is not None
    assert found.seat.consumption_token != seat.consumption_token
    assert (found.fault, found.taken_again, status) == (None, False, {"kept": True, "fault": ""})
    assert on_disk(rig) == (found.seat,)
    assert aws.held("l-1", "seats") == 1


def test_a_token_on_disk_that_is_newer_is_the_one_that_is_extended(rig: Rig) -> None:
    """A check that a person asked for has extended it meanwhile."""
    newer = replace(HELD, consumption_token="newer", taken_at=NOW)
    kept_file.replace(kept_file.seats_path(rig.state_dir, POD), as_text([newer], POD, SKU))
    _, server = played(rig, lambda asked: Reply(body={"Expiration": "2030-01-01T00:00:00Z"}))
    assert server.asked[0].body["LicenseConsumptionToken"] == "newer"


@pytest.mark.parametrize("action", [RENEW, CHECK_IN])
def test_a_seat_on_disk_that_is_not_asked_about_stays_until_it_expires(rig: Rig, action: str) -> None:
    """One seat is due before another, and a restart takes both again."""
    other = replace(HELD, name="editors", consumption_token="of-the-other")
    expired = replace(HELD, name="viewers", expires_at=NOW - timedelta(minutes=1))
    path = kept_file.seats_path(rig.state_dir, POD)
    kept_file.replace(path, as_text([other, expired, HELD], POD, SKU))
    played(rig, lambda asked: Reply(body={"Expiration": "2030-01-01T00:00:00Z"}), action)
    names = [one.name for one in on_disk(rig)]
    assert names == (["editors", "seats"] if action == RENEW else ["editors"])
    assert on_disk(rig)[0] == other


def test_a_seat_on_disk_of_another_workload_is_not_used(rig: Rig) -> None:
    newer = replace(HELD, consumption_token="of-another", taken_at=NOW)
    kept_file.replace(kept_file.seats_path(rig.state_dir, POD), as_text([newer], "pod-2", SKU))
    _, server = played(rig, lambda asked: Reply(body={"Expiration": "2030-01-01T00:00:00Z"}))
    assert server.asked[0].body["LicenseConsumptionToken"] == HELD.consumption_token


@pytest.mark.parametrize("code", GONE)
def test_a_seat_that_is_over_is_checked_out_once(rig: Rig, code: str) -> None:
    found, server = played(rig, by("ExtendLicenseConsumption", refused(code)))
    assert server.operations() == ["ExtendLicenseConsumption", "CheckoutLicense"]
    assert (found.taken_again, found.fault) == (True, None)
    assert server.asked[1].body["ClientToken"] == "client0"


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "RateLimitExceededException", "ServerInternalException", "AuthorizationException"]
)
def test_a_failure_that_says_nothing_of_the_seat_takes_no_second_one(rig: Rig, code: str) -> None:
    found, server = played(rig, by("ExtendLicenseConsumption", refused(code)))
    assert server.operations() == ["ExtendLicenseConsumption"]
    assert found.fault is not None
    assert found.fault.answer is not AnswerClass.DENY
    assert not found.over
    assert on_disk(rig) == (HELD,), "it may still be ours"


def test_nothing_allowed_is_asked_once_more_with_another_token(rig: Rig) -> None:
    nothing = by("CheckoutLicense", refused("NoEntitlementsAllowedException"))
    found, server = played(rig, by("ExtendLicenseConsumption", refused(GONE[0]), nothing))
    assert [one.body.get("ClientToken") for one in server.asked] == [None, "client0", "client0again"]
    assert found.fault is not None
    assert (found.fault.reason, found.over) == ("no_entitlements_allowed", True)
    assert "1 Count of seats" in found.hint
    assert on_disk(rig) == ()


def test_a_seat_without_a_token_is_checked_out_without_an_extension(rig: Rig) -> None:
    _, server = played(rig, granted, seat=replace(HELD, consumption_token=""))
    assert server.operations() == ["CheckoutLicense"]


def test_a_checkout_that_may_have_been_taken_is_to_be_repeated(rig: Rig) -> None:
    broken = by("CheckoutLicense", refused("ServerInternalException", 500))
    found, _ = played(rig, by("ExtendLicenseConsumption", refused(GONE[0]), broken))
    assert (found.unknown, found.over) == (True, True)


def test_what_was_allowed_and_not_asked_for_is_given_back(rig: Rig) -> None:
    def play(asked: Any) -> Reply:
        return Reply() if asked.operation == "CheckInLicense" else granted(asked, EntitlementsAllowed=[])

    found, server = played(rig, play, seat=replace(HELD, consumption_token=""))
    assert server.operations() == ["CheckoutLicense", "CheckInLicense"]
    assert found.reason == "entitlement_not_in_answer"


def test_no_line_of_a_failure_and_no_repr_has_a_token(rig: Rig) -> None:
    found, _ = played(rig, by("ExtendLicenseConsumption", refused("AccessDeniedException")))
    assert HELD.consumption_token not in found.as_json()
    assert HELD.consumption_token not in repr(SeatResult(seat=HELD))


# -- checked in


def test_seats_are_checked_in_and_are_on_disk_no_more(rig: Rig, aws: Emulator) -> None:
    first = ask(rig, aws, SEAT)
    kept(first)
    lines = done(rig, aws.url, CHECK_IN, *opened(first).held)
    assert result(lines[0]).fault is None
    assert (aws.held("l-1", "seats"), on_disk(rig)) == (0, ())


def test_a_seat_that_is_not_checked_in_stays_on_disk(rig: Rig) -> None:
    found, _ = played(rig, by("CheckInLicense", refused("AccessDeniedException")), CHECK_IN)
    assert found.fault is not None
    assert on_disk(rig) == (HELD,)


# -- the end of the contract


def test_the_end_of_the_contract_is_read(rig: Rig, aws: Emulator) -> None:
    aws.define_license(id="l-1", valid_until="2031-01-01T00:00:00Z")
    (license,) = opened(ask(rig, aws)).granted
    (line,) = done(rig, aws.url, TERM, license_arn=license["license_arn"])
    assert TermResult.from_json(json.dumps(line)).ends_at == "2031-01-01T00:00:00.000Z"


def test_a_license_that_is_not_known_here_is_looked_for_at_home(rig: Rig) -> None:
    def play(asked: Any) -> Reply:
        return Reply(body={"License": {"Status": "AVAILABLE"}}) if asked.region == "us-east-1" else refused(GONE[0])

    with LicenseServer(play) as server:
        (line,) = done(rig, server.url, TERM, license_arn=HELD.license_arn, region="eu-west-1")
    assert [one.region for one in server.asked] == ["eu-west-1", "us-east-1"]
    assert line["status"] == "AVAILABLE"


def test_an_end_that_may_not_be_read_is_a_reason_and_no_crash(rig: Rig) -> None:
    with LicenseServer(lambda asked: refused("AccessDeniedException")) as server:
        (line,) = done(rig, server.url, TERM, license_arn=HELD.license_arn)
    found = TermResult.from_json(json.dumps(line))
    assert (found.answer, found.reason, found.ends_at) == ("config", "access_denied", "")


# -- one at a time


def test_a_state_directory_that_is_gone_does_not_keep_seats_from_being_extended(rig: Rig) -> None:
    rig.state_dir = Path("/nonexistent")
    with LicenseServer(lambda asked: Reply(body={"Expiration": "2030-01-01T00:00:00Z"})) as server:
        first, status = done(rig, server.url, RENEW, HELD)
    assert result(first).fault is None
    assert status["kept"] is False
