"""The gate's check by License Manager, against the emulator and a server that plays, in this process and as a child."""

from __future__ import annotations

import errno
import fcntl
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.clock import Clock, SystemClock
from sidecar.emulator import Emulator
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.registration import WorkloadId
from sidecar.entitlement.seats import as_text
from sidecar.gate.checkout_license import CheckoutLicenseCheck
from sidecar.gate.contract_messages import OPEN_FOR, OpenCheckout
from sidecar.gate.messages import CheckResult
from sidecar.gate.method import Allowed, NotAllowed
from sidecar.ledger import kept_file
from sidecar.marketplace.client import LICENSES, Marketplace
from sidecar.quick_dataclasses import replace
from sidecar.settings import EntitlementCheck, License, Take
from tests.integration.gate.support import KEYS, Asked, Rig, Shifted, dead_url, read
from tests.integration.marketplace.license_server import Asked as Called
from tests.integration.marketplace.license_server import LicenseServer, Play, Reply, granted, refused

SKU: Final = "prod-4kq7example2x"
PRO: Final = License(name="pro", take=Take.CHECK)
SEAT: Final = License(name="seats", take=Take.SEAT)
TIERS: Final = tuple(License(name=name, take=Take.CHECK, any_of="tier") for name in ("gold", "silver", "bronze"))


def contract(*licenses: License, **more: Any) -> dict[str, Any]:
    """What makes a question one to License Manager."""
    asked = {"entitlement_check": EntitlementCheck.CHECKOUT_LICENSE.value, "product_code": "", "public_keys": ()}
    return asked | {"product_sku": SKU, "licenses": licenses or (PRO,)} | more


@pytest.fixture
def aws(rig: Rig) -> Emulator:
    """An account with one seat, one count of `pro`, and the tier silver."""
    aws = rig.aws()
    held = [{"name": name, "max_count": 1} for name in ("seats", "pro", "silver")]
    aws.define_license(id="l-1", sku=SKU, entitlements=held)
    return aws


def ask(rig: Rig, aws: Emulator, *licenses: License, pod: str = "pod-1", **more: Any) -> Asked:
    return rig.ask(aws.url, {**KEYS, "POD_UID": pod}, **contract(*licenses, **more))


def opened(asked: Asked) -> CheckResult:
    assert asked.result.verdict is AnswerClass.ACCEPTED, asked.result
    return asked.result


# -- open


def test_a_check_opens_the_gate_and_holds_nothing(rig: Rig, aws: Emulator) -> None:
    result = opened(ask(rig, aws))
    assert (result.reason, result.asked, result.held) == ("licenses_allowed", "CheckoutLicense", ())
    (license,) = result.granted
    assert (license["name"], license["take"]) == ("pro", "check")
    assert license["license_arn"].endswith(":l-1")
    assert aws.held("l-1", "pro") == 0
    assert result.host == aws.url.removeprefix("http://")


def test_pods_of_one_check_do_not_lock_each_other_out(rig: Rig, aws: Emulator) -> None:
    for pod in ("pod-1", "pod-2", "pod-3"):
        opened(ask(rig, aws, pod=pod))


def test_a_seat_stays_held_and_is_handed_on(rig: Rig, aws: Emulator) -> None:
    result = opened(ask(rig, aws, SEAT, PRO))
    (seat,) = result.held
    assert (seat.name, seat.value, seat.region) == ("seats", "1", "us-east-1")
    assert seat.expires_at > aws.clock.now() + timedelta(minutes=55)
    assert (aws.held("l-1", "seats"), aws.held("l-1", "pro")) == (1, 0)
    assert seat.consumption_token not in repr(result)
    assert seat.consumption_token in result.as_json()
    assert CheckResult.from_json(result.as_json()) == result
    assert seat.consumption_token not in replace(result, held=()).as_json()


def test_a_real_child_hands_the_seat_on_and_keeps_it(rig: Rig, aws: Emulator) -> None:
    child = rig.spawn(aws.url, **contract(SEAT))
    result = read(child)
    child.close()
    assert opened(Asked(identity=None, result=result, keep=None)).held  # type: ignore[arg-type]


@pytest.mark.parametrize("owned", ["gold", "silver", "bronze"])
def test_of_tiers_the_first_that_is_held_opens(rig: Rig, owned: str) -> None:
    aws = rig.aws()
    aws.define_license(id="l-1", sku=SKU, entitlements=[{"name": owned, "max_count": 1}])
    assert [one["name"] for one in opened(ask(rig, aws, *TIERS)).granted] == [owned]


def test_every_source_of_credentials_is_taken_without_a_caution(rig: Rig, aws: Emulator) -> None:
    for env in (KEYS, rig.irsa):
        result = rig.ask(aws.url, env, **contract(PRO)).result
        assert (result.verdict, result.credential_caution) == (AnswerClass.ACCEPTED, "")


# -- refused


def checked(rig: Rig, play: Play, *licenses: License, **more: Any) -> tuple[Allowed | NotAllowed, LicenseServer]:
    """Ask a License Manager that plays, without pauses."""
    with LicenseServer(play) as server, rig.seen_by_sdk(server.url, KEYS) as seen:
        check = check_of(rig, server.url, *licenses, **more)
        found = check.ask(Marketplace(region="us-east-1", endpoint_url=server.url, env=seen, service=LICENSES))
    return found, server


def check_of(
    rig: Rig, url: str, *licenses: License, waits: list[float] | None = None, clock: Clock | None = None, **more: Any
) -> CheckoutLicenseCheck:
    clock, waited = clock or SystemClock(), waits if waits is not None else []
    return CheckoutLicenseCheck(
        request=rig.request(url, **contract(*licenses, **more)),
        workload=WorkloadId("pod-1"),
        clock=clock,
        host_clock=clock,
        wait=waited.append,
        chance=lambda: 0.5,
    )


def only(name: str, then: Reply) -> Play:
    """Grant everything but one license."""

    def play(asked: Called) -> Reply:
        if asked.operation != "CheckoutLicense":
            return Reply()
        return then if asked.body["Entitlements"][0]["Name"] == name else granted(asked)

    return play


def test_nothing_allowed_is_asked_once_more_with_another_token(rig: Rig) -> None:
    waits: list[float] = []
    found, server = checked(rig, only("pro", refused("NoEntitlementsAllowedException")), PRO, waits=waits)
    assert isinstance(found, NotAllowed)
    assert (found.row.reason, found.row.answer) == ("no_entitlements_allowed", AnswerClass.DENY)
    assert waits == [1.5]
    assert len({one.body["ClientToken"] for one in server.asked}) == len(server.asked) == 2


def test_a_seat_that_comes_free_in_between_opens(rig: Rig) -> None:
    answers = [refused("NoEntitlementsAllowedException")]
    found, _ = checked(rig, lambda asked: answers.pop() if answers else granted(asked), SEAT)
    assert isinstance(found, Allowed)


def test_tiers_are_asked_for_in_order_and_once_more_together(rig: Rig) -> None:
    waits: list[float] = []
    found, server = checked(rig, lambda asked: refused("NoEntitlementsAllowedException"), *TIERS, waits=waits)
    assert isinstance(found, NotAllowed)
    names = [one.body["Entitlements"][0]["Name"] for one in server.asked]
    assert names == ["gold", "silver", "bronze"] * 2
    assert len(waits) == 1
    assert found.license == "1 Count of gold or 1 Count of silver or 1 Count of bronze"


@pytest.mark.parametrize("code", ["AccessDeniedException", "RateLimitExceededException", "ResourceNotFoundException"])
def test_another_refusal_is_believed_at_once(rig: Rig, code: str) -> None:
    waits: list[float] = []
    found, server = checked(rig, only("pro", refused(code)), PRO, waits=waits)
    assert isinstance(found, NotAllowed)
    assert (found.code, waits, len(server.asked)) == (code, [], 1)


@pytest.mark.parametrize("said", [{"EntitlementsAllowed": []}, {"LicenseConsumptionToken": ""}], ids=str)
def test_a_200_that_grants_nothing_is_refused_and_given_back(rig: Rig, said: dict[str, Any]) -> None:
    def play(asked: Called) -> Reply:
        return Reply() if asked.operation == "CheckInLicense" else granted(asked, **said)

    found, server = checked(rig, play, SEAT)
    assert isinstance(found, NotAllowed)
    assert found.row.reason == "entitlement_not_in_answer"
    assert server.operations() == ["CheckoutLicense", *(["CheckInLicense"] if "EntitlementsAllowed" in said else [])]


def test_seats_are_given_back_where_a_later_license_is_refused(rig: Rig, aws: Emulator) -> None:
    missing = License(name="missing", take=Take.CHECK)
    result = ask(rig, aws, SEAT, PRO, missing).result
    assert (result.verdict, result.held) == (AnswerClass.DENY, ())
    assert "1 Count of missing" in result.hint
    assert "seats are in use" in result.hint
    assert (aws.held("l-1", "seats"), aws.held("l-1", "pro")) == (0, 0)


def test_a_check_in_that_fails_refuses_nothing_and_is_said(rig: Rig, aws: Emulator) -> None:
    aws.fault("CheckInLicense", "AccessDeniedException")
    result = opened(ask(rig, aws))
    (said,) = result.not_returned
    assert said.startswith("pro: AccessDeniedException; until 20")


def test_the_last_seat_is_refused_to_the_next_pod(rig: Rig, aws: Emulator) -> None:
    opened(ask(rig, aws, SEAT))
    result = ask(rig, aws, SEAT, pod="pod-2").result
    assert (result.verdict, result.reason) == (AnswerClass.DENY, "no_entitlements_allowed")


def test_seats_are_not_all_waited_for_while_license_manager_is_away(rig: Rig) -> None:
    def play(asked: Called) -> Reply:
        if asked.operation == "CheckInLicense" or asked.body["Entitlements"][0]["Name"] == "pro":
            return refused("ServerInternalException", 500)
        return granted(asked)

    more = [License(name=f"seat-{number}", take=Take.SEAT) for number in range(4)]
    found, server = checked(rig, play, *more, PRO)
    assert server.operations().count("CheckInLicense") == 1
    said = found.facts["not_returned"]
    assert isinstance(said, tuple)
    assert [one.split(";")[0] for one in said] == [f"seat-{number}: ServerInternalException" for number in range(4)]


@pytest.mark.parametrize("code", ["ServerInternalException", "AccessDeniedException"])
def test_a_seat_whose_check_in_failed_is_extended_by_the_next_check(rig: Rig, aws: Emulator, code: str) -> None:
    """The license has one seat: without its token the workload would be locked out by itself for an hour."""
    aws.fault("CheckInLicense", code, times=None)
    assert ask(rig, aws, SEAT, License(name="missing", take=Take.CHECK)).result.verdict is AnswerClass.DENY
    aws.clear_faults()
    opened(ask(rig, aws, SEAT, PRO))
    assert aws.held("l-1", "seats") == 1


# -- repeated


def test_a_checkout_of_unknown_outcome_is_repeated_with_its_token(rig: Rig) -> None:
    found, server = checked(rig, only("seats", refused("ServerInternalException", 500)), PRO, SEAT)
    assert isinstance(found, NotAllowed)
    assert found.row.unreachable
    opened = found.facts["open_checkout"]
    assert isinstance(opened, OpenCheckout)
    sent = [one.body["ClientToken"] for one in server.asked if one.operation == "CheckoutLicense"]
    assert opened.client_token == sent[-1]

    _, server = checked(rig, only("", Reply()), PRO, SEAT, open_checkout=opened)
    again = [one.body["ClientToken"] for one in server.asked if one.operation == "CheckoutLicense"]
    assert again[1] == sent[-1]
    assert again[0] != sent[0]


@pytest.mark.parametrize("seconds", [-1.0, OPEN_FOR.total_seconds() + 1])
def test_an_old_checkout_is_not_repeated(rig: Rig, seconds: float) -> None:
    found, server = checked(rig, only("seats", refused("ServerInternalException", 500)), SEAT)
    opened = found.facts["open_checkout"]
    assert isinstance(opened, OpenCheckout)
    _, later = checked(rig, only("", Reply()), SEAT, open_checkout=opened, clock=Shifted(seconds))
    assert later.asked[0].body["ClientToken"] != server.asked[0].body["ClientToken"]


def test_a_refusal_leaves_no_checkout_open(rig: Rig) -> None:
    found, _ = checked(rig, lambda asked: refused("NoEntitlementsAllowedException"), SEAT)
    assert found.facts["open_checkout"] is None


def test_an_answer_that_was_lost_costs_no_second_seat(rig: Rig, aws: Emulator) -> None:
    aws.fault("CheckoutLicense", "drop_after")
    lost = ask(rig, aws, SEAT).result
    assert lost.verdict is AnswerClass.RETRY
    assert aws.held("l-1", "seats") == 1
    assert opened(ask(rig, aws, SEAT, open_checkout=lost.open_checkout)).held


# -- kept


def kept(asked: Asked) -> None:
    assert asked.keep is not None
    assert asked.keep().kept


def test_a_restart_extends_the_workloads_own_seat(rig: Rig, aws: Emulator) -> None:
    first = ask(rig, aws, SEAT)
    kept(first)
    again = opened(ask(rig, aws, SEAT))
    assert aws.held("l-1", "seats") == 1
    assert [one.operation for one in aws.calls() if one.operation.startswith("Extend")] == ["ExtendLicenseConsumption"]
    assert again.held[0].expires_at >= opened(first).held[0].expires_at


def test_a_workload_without_a_name_keeps_its_seat_and_nothing_else(rig: Rig, aws: Emulator) -> None:
    """Or the next check, of a recheck or after a restart, would be locked out by the seat that the workload holds."""
    first = ask(rig, aws, SEAT, pod="")
    kept(first)
    assert [one.name.split("-")[0] for one in rig.state_dir.glob("*.json")] == ["seats"]
    again = opened(ask(rig, aws, SEAT, pod=""))
    assert (first.identity.workload_kind, again.held[0].consumption_token) == (
        "nameless",
        opened(first).held[0].consumption_token,
    )
    assert aws.held("l-1", "seats") == 1


def test_a_workload_without_a_name_keeps_no_pass(rig: Rig, aws: Emulator) -> None:
    assert ask(rig, aws, pod="").keep is None


def test_a_kept_seat_that_ran_out_is_checked_out_again(rig: Rig, aws: Emulator) -> None:
    first = ask(rig, aws, SEAT)
    kept(first)
    aws.set_clock(now=aws.clock.now() + timedelta(hours=2))
    again = opened(ask(rig, aws, SEAT))
    assert again.held[0].consumption_token != opened(first).held[0].consumption_token


def test_a_seat_that_an_upgrade_leaves_unused_is_given_back_by_the_restart(rig: Rig, aws: Emulator) -> None:
    tiers = [License(name=name, take=Take.SEAT, any_of="tier") for name in ("gold", "silver")]
    kept(ask(rig, aws, *tiers))
    aws.define_license(id="l-1", entitlements=[{"name": name, "max_count": 1} for name in ("gold", "silver")])
    assert [one.name for one in opened(ask(rig, aws, *tiers)).held] == ["gold"]
    assert (aws.held("l-1", "gold"), aws.held("l-1", "silver")) == (1, 0)


def is_locked(rig: Rig) -> bool:
    """Whether another child would have to wait for the workload's seats."""
    with kept_file.seats_path(rig.state_dir, WorkloadId("pod-1")).with_suffix(".lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("disk_fails", [False, True])
def test_no_other_child_reads_the_seats_before_the_new_tokens_are_kept(
    rig: Rig, aws: Emulator, monkeypatch: pytest.MonkeyPatch, disk_fails: bool
) -> None:
    kept(ask(rig, aws, SEAT))
    asked = ask(rig, aws, SEAT)
    locked: list[bool] = []

    def replace_file(path: Path, text: str) -> None:
        locked.append(is_locked(rig))
        if disk_fails:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(kept_file, "replace", replace_file)
    assert asked.keep is not None
    assert asked.keep().kept is not disk_fails
    assert locked
    assert all(locked)
    assert not is_locked(rig)


def test_a_refusal_leaves_the_seats_to_other_children(rig: Rig, aws: Emulator) -> None:
    kept(ask(rig, aws, SEAT))
    asked = ask(rig, aws, SEAT, License(name="missing", take=Take.CHECK))
    assert asked.result.verdict is AnswerClass.DENY
    assert not is_locked(rig)


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFoundException", "NoEntitlementsAllowedException"])
def test_a_seat_that_cannot_be_extended_is_checked_out_again(rig: Rig, aws: Emulator, code: str) -> None:
    aws.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 2}])
    kept(ask(rig, aws, SEAT))
    aws.fault("ExtendLicenseConsumption", code)
    opened(ask(rig, aws, SEAT))
    assert aws.held("l-1", "seats") == 2


def test_a_seat_is_not_checked_out_twice_while_license_manager_is_away(rig: Rig, aws: Emulator) -> None:
    aws.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 2}])
    kept(ask(rig, aws, SEAT))
    aws.fault("ExtendLicenseConsumption", "ServerInternalException")
    assert opened(ask(rig, aws, SEAT)).reason == "kept_contract"
    assert aws.held("l-1", "seats") == 1


@pytest.mark.parametrize("is_open", [True, False])
def test_a_refusal_takes_the_seat_of_a_running_product_no_more_than_an_outage(
    rig: Rig, aws: Emulator, is_open: bool
) -> None:
    """Of one that does not run it is given back: a pod that is denied holds no seat."""
    aws.behave(license_extend_token="rotated")
    kept(ask(rig, aws, SEAT))
    missing = License(name="missing", take=Take.CHECK)
    assert ask(rig, aws, SEAT, missing, opened=is_open).result.verdict is AnswerClass.DENY
    assert aws.held("l-1", "seats") == int(is_open)
    if is_open:
        opened(ask(rig, aws, SEAT))
        assert len(aws.checkouts()) == 1, "the token that AWS rotated was kept"


def test_what_is_kept_is_the_owners_alone_and_the_pass_has_no_token(rig: Rig, aws: Emulator) -> None:
    asked = ask(rig, aws, SEAT)
    kept(asked)
    token = opened(asked).held[0].consumption_token
    files = {path.name.split("-")[0]: path for path in rig.state_dir.glob("*.json")}
    assert set(files) == {"contract", "seats"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    assert token in files["seats"].read_text()
    assert token not in files["contract"].read_text()


def unreachable(rig: Rig, *licenses: License, pod: str = "pod-1", **more: Any) -> CheckResult:
    url = dead_url()
    return rig.ask(url, {**KEYS, "POD_UID": pod}, **contract(*licenses, **more)).result


def test_a_kept_pass_opens_while_license_manager_is_away(rig: Rig, aws: Emulator) -> None:
    kept(ask(rig, aws, SEAT, PRO))
    result = unreachable(rig, SEAT, PRO)
    assert (result.verdict, result.reason) == (AnswerClass.ACCEPTED, "kept_contract")
    assert result.from_kept_answer
    assert [one["name"] for one in result.granted] == ["seats", "pro"]
    assert [one.name for one in result.held] == ["seats"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"pod": "pod-2"}, ""),
        ({"product_sku": "prod-other"}, "kept_other_product"),
        ({"licenses": (PRO, License(name="more", take=Take.CHECK))}, "kept_other_licenses"),
        ({"licenses": (License(name="pro", value="2", take=Take.CHECK),)}, "kept_other_licenses"),
        ({"licenses": (License(name="pro", take=Take.SEAT),)}, "kept_other_licenses"),
    ],
    ids=str,
)
def test_a_kept_pass_of_something_else_opens_nothing(
    rig: Rig, aws: Emulator, changed: dict[str, Any], reason: str
) -> None:
    kept(ask(rig, aws))
    result = unreachable(rig, **changed)
    assert (result.verdict, result.kept_refused) == (AnswerClass.RETRY, reason)


@pytest.mark.parametrize(
    ("days", "verdict"), [(6, AnswerClass.ACCEPTED), (8, AnswerClass.RETRY), (-1, AnswerClass.RETRY)]
)
def test_a_kept_pass_opens_for_seven_days(rig: Rig, aws: Emulator, days: int, verdict: AnswerClass) -> None:
    kept(ask(rig, aws))
    found = rig.ask(dead_url(), KEYS, clock=Shifted(days * 86400), **contract())
    assert found.result.verdict is verdict
    assert found.result.kept_refused == ("" if verdict is AnswerClass.ACCEPTED else "kept_too_old")


def test_a_refusal_is_not_covered_by_a_kept_pass(rig: Rig, aws: Emulator) -> None:
    kept(ask(rig, aws))
    aws.define_license(id="l-1", status="EXPIRED")
    assert ask(rig, aws).result.verdict is AnswerClass.DENY


@pytest.mark.parametrize("is_open", [True, False])
def test_a_refusal_ends_the_kept_pass_for_later_outages(rig: Rig, aws: Emulator, is_open: bool) -> None:
    kept(ask(rig, aws))
    aws.define_license(id="l-1", status="EXPIRED")
    assert ask(rig, aws, opened=is_open).result.verdict is AnswerClass.DENY
    assert unreachable(rig).verdict is AnswerClass.RETRY


@pytest.mark.parametrize("code", ["ServerInternalException", "AccessDeniedException"])
def test_what_is_no_refusal_leaves_the_kept_pass(rig: Rig, aws: Emulator, code: str) -> None:
    kept(ask(rig, aws))
    aws.fault("CheckoutLicense", code)
    ask(rig, aws)
    assert unreachable(rig).reason == "kept_contract"


def test_a_kept_pass_opens_nothing_once_its_seat_was_given_back(rig: Rig, aws: Emulator) -> None:
    kept(ask(rig, aws, SEAT, PRO))
    kept_file.replace(kept_file.seats_path(rig.state_dir, "pod-1"), as_text((), "pod-1", SKU))
    result = unreachable(rig, SEAT, PRO)
    assert (result.verdict, result.kept_refused) == (AnswerClass.RETRY, "kept_seat_returned")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said | {"sku": 7},
        lambda said: said | {"format": 2},
        lambda said: said | {"granted": [{"name": 7}]},
        lambda said: said | {"granted": [*said["granted"], {"name": "more"}]},
        lambda said: said | {"allowed_at": "2999-01-01T00:00:00+00:00"},
    ],
)
def test_a_kept_pass_that_was_changed_opens_nothing(
    rig: Rig, aws: Emulator, spoil: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    kept(ask(rig, aws))
    path: Path = kept_file.contract_path(rig.state_dir, "pod-1")
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    result = unreachable(rig)
    assert result.verdict is AnswerClass.RETRY
    assert result.kept_refused in ("kept_unreadable", "kept_other_workload")
