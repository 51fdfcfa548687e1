"""Seats of a contract, held by real processes against an emulator whose clock stands until it is moved."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.billing.metered import SLOW, marketplace
from tests.acceptance.seats import SKU, Contracted, away, calls, later
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def aws(keys: SigningKeys) -> Iterator[Emulator]:
    with marketplace(keys, start="10:00") as aws:
        aws.define_license(id="l-1", sku=SKU, entitlements=[{"name": "seats", "max_count": 1}])
        yield aws


def test_a_seat_is_extended_and_checked_in_at_sigterm(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one") as sidecar:
        sidecar.opened()
        assert aws.held("l-1", "seats") == 1
        for number in range(1, 4):
            later(aws, minutes=31)
            eventually(lambda number=number: calls(aws, "ExtendLicenseConsumption") == number, SLOW)  # type: ignore[misc]
        assert aws.held("l-1", "seats") == 1
        shown = [sidecar.api(f"GET {path}") for path in ("/v1/status", "/v1/entitlements")]
        (kept,) = sidecar.directory.glob("seats-*.json")
        sidecar.told()
        assert sidecar.ended() == 0
        assert aws.held("l-1", "seats") == 0
        assert sidecar.logged("seat.checked_in")["license"] == "seats"
    tokens = [one.token for one in aws.checkouts()]
    assert len(tokens) == 1, "never a second one"
    assert tokens[0] not in sidecar.text() + str(shown)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert tokens[0] not in kept.read_text(), "nothing is held any more"


@pytest.mark.parametrize("policy", ["hold", "shut"])
def test_a_seat_that_expired_while_aws_was_away_is_lost_and_taken_again(
    aws: Emulator, tmp_path: Path, policy: str
) -> None:
    with Contracted(aws, tmp_path / "one", SIDECAR_ON_SEAT_LOST=policy) as sidecar:
        sidecar.opened()
        away(aws)
        later(aws, minutes=31)
        sidecar.logged("seat.extension_failed", SLOW)
        assert sidecar.probe()[0] == 200
        assert not sidecar.events("seat.lost"), "it has not expired yet"
        later(aws, minutes=30)
        assert sidecar.logged("seat.lost", SLOW)["on_seat_lost"] == policy
        if policy == "shut":
            shown = sidecar.shows("unavailable", SLOW)
            assert shown["reason"] == "seat_lost"
            assert sidecar.api("GET /v1/entitlements")[1]["entitlements"] == []
        else:
            assert sidecar.probe()[1]["status"] == "entitled"
        aws.clear_faults()
        later(aws, minutes=2)
        sidecar.logged("seat.taken_again", SLOW)
        sidecar.shows("entitled", SLOW)
        assert aws.held("l-1", "seats") == 1
        assert sidecar.seats()[0]["lost_at"] is None


def test_an_outage_shorter_than_the_life_of_a_seat_loses_nothing(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one", SIDECAR_ON_SEAT_LOST="shut") as sidecar:
        sidecar.opened()
        away(aws)
        later(aws, minutes=31)
        sidecar.logged("seat.extension_failed", SLOW)
        later(aws, minutes=27)
        aws.clear_faults()
        sidecar.logged("seat.extended", SLOW)
        assert not sidecar.events("seat.lost")
        assert len(aws.checkouts()) == 1


def test_a_seat_that_another_copy_took_is_denied_and_shuts_the_gate(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one", SIDECAR_ON_SEAT_LOST="shut") as sidecar:
        sidecar.opened()
        aws.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 0}])
        later(aws, minutes=61)
        shown = sidecar.shows("denied", SLOW)
        assert (shown["reason"], sidecar.logged("seat.lost")["reason"]) == ("seat_lost", "no_entitlements_allowed")
        aws.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 1}])
        later(aws, seconds=2)
        sidecar.shows("entitled", SLOW)


def test_a_killed_pod_takes_its_own_seat_again_and_no_other(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one") as sidecar:
        sidecar.opened()
        sidecar.killed()
    assert aws.held("l-1", "seats") == 1, "a crash gives nothing back"
    with sidecar.restarted() as again:
        again.opened()
        assert len(aws.checkouts()) == 1, "the one seat of the license was extended"
        again.told()
        assert again.ended() == 0
    assert aws.held("l-1", "seats") == 0


def test_another_workload_on_the_same_volume_does_not_use_the_seat(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one") as sidecar:
        sidecar.opened()
        sidecar.killed()
    with Contracted(aws, tmp_path / "one") as other:
        assert other.shows("denied", SLOW)["reason"] == "no_entitlements_allowed"
        later(aws, minutes=61)
        other.opened()
    assert len(aws.checkouts()) == 2


def test_of_two_pods_that_race_for_the_last_seat_one_has_it(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one") as one, Contracted(aws, tmp_path / "two") as two:
        found = eventually(lambda: sorted([one.probe()[1]["status"], two.probe()[1]["status"]]) == DECIDED, SLOW)
        assert found
        winner, waiting = (one, two) if one.probe()[0] == 200 else (two, one)
        assert "all of its seats are in use" in waiting.probe()[1]["hint"]
        winner.told()
        assert winner.ended() == 0
        waiting.opened()


def test_a_new_worker_goes_on_with_the_seat_of_the_last(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one") as sidecar:
        sidecar.opened()
        os.kill(sidecar.worker(), signal.SIGKILL)
        eventually(lambda: sidecar.api("GET /v1/status")[1]["entitlement"]["entitled"], SLOW)
        eventually(sidecar.seats, SLOW)
        assert len(aws.checkouts()) == 1


def test_a_worker_that_alone_is_told_to_end_leaves_its_seat_to_the_next(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one", SIDECAR_ON_SEAT_LOST="shut") as sidecar:
        sidecar.opened()
        first = sidecar.worker()
        os.kill(first, signal.SIGTERM)
        assert sidecar.logged("seat.left", SLOW)["reason"] == "worker_replaced"
        eventually(lambda: sidecar.worker() != first, SLOW)
        assert aws.held("l-1", "seats") == 1
        aws.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 0}])
        eventually(sidecar.seats, SLOW)
        assert sidecar.probe()[1]["status"] == "entitled"
        assert not sidecar.events("seat.lost")
        assert len(aws.checkouts()) == 1, "the seat was extended"
        sidecar.told()
        assert sidecar.ended() == 0
        assert sidecar.logged("seat.checked_in")["license"] == "seats"
        assert aws.held("l-1", "seats") == 0


def test_a_seat_that_the_next_worker_cannot_take_over_is_lost(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one", SIDECAR_ON_SEAT_LOST="shut") as sidecar:
        sidecar.opened()
        aws.define_license(id="l-1", entitlements=[{"name": "seats", "max_count": 0}])
        (kept,) = sidecar.directory.glob("seats-*.json")
        os.kill(sidecar.worker(), signal.SIGSTOP)
        kept.unlink()
        os.kill(sidecar.worker(), signal.SIGKILL)
        assert sidecar.shows("denied", SLOW)["reason"] == "seat_lost"
        assert sidecar.logged("seat.lost")["reason"] == "no_entitlements_allowed"


def test_a_new_worker_opens_the_gate_that_a_lost_seat_shut_once_it_is_held(aws: Emulator, tmp_path: Path) -> None:
    with Contracted(aws, tmp_path / "one", SIDECAR_ON_SEAT_LOST="shut") as sidecar:
        sidecar.opened()
        away(aws)
        later(aws, minutes=31)
        sidecar.logged("seat.extension_failed", SLOW)
        later(aws, minutes=30)
        sidecar.shows("unavailable", SLOW)
        os.kill(sidecar.worker(), signal.SIGKILL)
        aws.clear_faults()
        eventually(lambda: aws.held("l-1", "seats") == 1, SLOW)
        sidecar.shows("entitled", SLOW)


def test_the_product_sees_what_it_may_use_and_the_contracts_end(aws: Emulator, tmp_path: Path) -> None:
    ends = aws.clock.now() + timedelta(days=20)
    aws.define_license(id="l-1", valid_until=ends.isoformat())
    with Contracted(aws, tmp_path / "one") as sidecar:
        sidecar.opened()
        later(aws, minutes=1)
        assert sidecar.logged("contract.ending", SLOW)["within_days"] == 30
        (seat,) = sidecar.api("GET /v1/entitlements")[1]["entitlements"]
        assert (seat["name"], seat["value"], seat["take"]) == ("seats", "1", "seat")
        assert sidecar.licenses()["ends_at"].startswith("2026-01-22")


DECIDED = ["denied", "entitled"]
