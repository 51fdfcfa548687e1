"""Entitled by metering: dry runs open the gate, the first real record may shut it, overdue reporting too."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.ledger import kept_file
from tests.acceptance.billing.metered import (
    SLOW,
    Metered,
    Product,
    at,
    billed,
    hours,
    waiting,
)
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each test starts a sidecar several times


def by_metering(aws: Emulator, directory: Path, **given: str | None) -> Metered:
    """A product with custom dimensions alone: AWS signs nothing, so there is no public key."""
    more = {"SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_PUBLIC_KEY": None, **given}
    return Metered(aws, directory, **more)


def asked(aws: Emulator, operation: str = "MeterUsage") -> list[str]:
    return [call.answer for call in aws.calls() if call.operation == operation]


def stopped(sidecar: Metered) -> Metered:
    sidecar.told()
    assert sidecar.ended(SLOW) == 0
    return sidecar


def denied_after_the_first_record(aws: Emulator, directory: Path, product: Product, **given: str) -> Metered:
    """Dry runs pass without a subscription; the first real record is what says no."""
    aws.unsubscribe()
    sidecar = by_metering(aws, directory, **given).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11:10"))
    sidecar.logged("metering.denied", SLOW)
    return sidecar


# -- the dry run


@pytest.mark.parametrize("status", [400, 412])
def test_a_dry_run_that_passes_opens_the_gate_without_a_public_key(
    aws: Emulator, tmp_path: Path, product: Product, status: int
) -> None:
    aws.behave(dry_run_status=status)
    with by_metering(aws, tmp_path) as sidecar:
        sidecar.ready()
        assert asked(aws) == ["DryRunOperation"]
        assert asked(aws, "RegisterUsage") == []
        assert aws.usage_records() == []
        product.used(sidecar, 7)
    assert hours(aws) == {"10": 7}
    assert waiting(sidecar) == 0


def test_a_dry_run_that_says_no_denies_and_opens_after_subscribing(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    aws.behave(dry_run_checks_subscription=True)
    aws.unsubscribe()
    with by_metering(aws, tmp_path, SIDECAR_REASK_SECONDS="1") as sidecar:
        assert sidecar.shows("denied")["reason"] == "customer_not_entitled"
        assert sidecar.probe()[0] == 403
        sidecar.takes_usage()
        product.used(sidecar, 7)
        aws.subscribe()
        sidecar.shows("entitled")
    assert hours(aws) == {"10": 7}


def test_a_role_that_may_not_meter_is_misconfigured_not_denied(aws: Emulator, tmp_path: Path) -> None:
    aws.behave(allowed=False)
    with by_metering(aws, tmp_path, SIDECAR_ON_DENIED="exit") as sidecar:
        assert sidecar.shows("misconfigured")["reason"] == "access_denied"
        assert sidecar.probe()[0] == 503
        assert sidecar.process is not None
        assert sidecar.process.poll() is None


# -- the first real record


def test_the_first_record_denied_shuts_the_gate_until_the_customer_subscribes(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    with denied_after_the_first_record(aws, tmp_path, product) as sidecar:
        assert sidecar.shows("denied")["reason"] == "customer_not_entitled"
        assert sidecar.probe()[0] == 403
        eventually(lambda: "customer_not_entitled" in sidecar.note.read_text())  # written after the gate is shut
        product.used(sidecar, 2)
        aws.subscribe()
        aws.set_clock(now=at("11:40"))
        sidecar.shows("entitled", SLOW)
        eventually(lambda: sidecar.note.read_text() == "")
    assert hours(aws) == {"10": 7, "11": 2}
    assert waiting(sidecar) == 0


@pytest.mark.slow
def test_recheck_sends_the_denied_record_at_once(aws: Emulator, tmp_path: Path, product: Product) -> None:
    with denied_after_the_first_record(aws, tmp_path, product) as sidecar:
        sidecar.shows("denied")
        aws.subscribe()
        eventually(lambda: sidecar.api("POST /v1/recheck")[0] == 202, SLOW)
        sidecar.shows("entitled", SLOW)
        assert hours(aws) == {"10": 7}
    assert waiting(sidecar) == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "kill", "worker"])
def test_a_gate_shut_by_the_first_record_opens_after_subscribing_only(
    aws: Emulator, tmp_path: Path, product: Product, how: str
) -> None:
    sidecar = denied_after_the_first_record(aws, tmp_path, product)
    sidecar.shows("denied")
    following = restarted(sidecar, how)
    with following:
        following.shows("denied", SLOW)
        following.takes_usage()
        following.look()
        assert following.probe()[0] == 403
        if how != "worker":
            assert following.events("gate.opened") == []
        aws.subscribe()
        aws.set_clock(now=at("11:55"))
        following.shows("entitled", SLOW)
        eventually(lambda: billed(aws) == 7)
    assert hours(aws) == {"10": 7}


def restarted(sidecar: Metered, how: str) -> Metered:
    if how == "worker":
        first = sidecar.worker()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: sidecar.worker() != first, SLOW)
        return sidecar
    if how == "kill":
        sidecar.killed()
    else:
        sidecar.told()
        assert sidecar.ended(SLOW) == 0
    return sidecar.again().start()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "worker"])
def test_a_throttled_denied_first_record_shuts_the_gate_after_a_restart(
    aws: Emulator, tmp_path: Path, product: Product, how: str
) -> None:
    """The last answer says nothing of the customer; the one before it did."""
    sidecar = denied_after_the_first_record(aws, tmp_path, product)
    sidecar.shows("denied")
    aws.fault("MeterUsage", "ThrottlingException", times=None)
    held = len(sidecar.events("record.held"))
    aws.set_clock(now=at("11:40"))
    eventually(lambda: len(sidecar.events("record.held")) > held, SLOW)
    if how == "kill":
        aws.clear_faults()  # the dry run passes again
        aws.set_clock(now=at("11:40:01"))
    with restarted(sidecar, how) as following:
        following.takes_usage()
        following.look()
        following.shows("denied", SLOW)
        assert following.events("gate.opened")[1:] == []
        aws.clear_faults()
        aws.subscribe()
        aws.set_clock(now=at("12:20"))
        following.shows("entitled", SLOW)
    assert billed(aws) == product.owed


def test_an_expired_denied_first_record_shuts_the_gate_after_a_restart(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """It was rolled forward; nothing of this customer was ever taken."""
    sidecar = denied_after_the_first_record(aws, tmp_path, product)
    sidecar.shows("denied")
    aws.set_clock(now=at("17:30"))
    sidecar.logged("usage.rolled_forward", SLOW)
    sidecar.killed()
    with sidecar.again() as again:
        again.takes_usage()
        again.look()
        again.shows("denied", SLOW)
        aws.subscribe()
        aws.set_clock(now=at("18:10"))
        again.shows("entitled", SLOW)
    assert billed(aws) == product.owed


def test_with_alert_a_denied_first_record_is_said_and_the_gate_stays_open(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    with denied_after_the_first_record(aws, tmp_path, product, SIDECAR_ON_FIRST_METER_DENIED="alert") as sidecar:
        sidecar.look()
        assert sidecar.probe()[0] == 200
        assert sidecar.logged("metering.denied")["policy"] == "alert"
        aws.subscribe()
        aws.set_clock(now=at("11:40"))
        sidecar.until_settled()
    assert hours(aws) == {"10": 7}


@pytest.mark.slow
def test_with_on_denied_exit_a_denied_first_record_ends_the_process_with_77(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = denied_after_the_first_record(aws, tmp_path, product, SIDECAR_ON_DENIED="exit")
    assert sidecar.ended(SLOW) == 77
    assert "customer_not_entitled" in sidecar.note.read_text()
    assert waiting(sidecar) == product.owed


@pytest.mark.slow
def test_with_exit_each_restart_ends_with_77_until_subscribed(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = denied_after_the_first_record(aws, tmp_path, product, SIDECAR_ON_DENIED="exit")
    assert sidecar.ended(SLOW) == 77
    again = sidecar.again().start()
    assert again.ended(SLOW) == 77
    assert again.events("gate.opened") == []
    aws.subscribe()
    third = sidecar.again().start()
    eventually(lambda: billed(aws) == 7, SLOW)
    if third.process and third.events("sidecar.ending"):
        assert third.ended(SLOW) == 77  # what was kept still said no when it started
        third = sidecar.again().start()
    with third:
        third.shows("entitled", SLOW)
    assert billed(aws) == product.owed


def test_a_workload_whose_record_was_taken_is_not_shut_by_a_later_denial(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    with by_metering(aws, tmp_path) as sidecar:
        sidecar.ready()
        product.used(sidecar, 7)
        aws.set_clock(now=at("11:10"))
        eventually(lambda: billed(aws) == 7, SLOW)
        aws.fault("MeterUsage", "CustomerNotEntitledException", times=None)
        product.used(sidecar, 5)
        aws.set_clock(now=at("12:10"))
        sidecar.logged("record.held", SLOW)
        sidecar.look()
        assert sidecar.probe()[0] == 200
        aws.clear_faults()
    assert hours(aws) == {"10": 7, "11": 5}


# -- the kept pass


def test_after_a_restart_with_aws_unreachable_the_kept_pass_opens_the_gate(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = by_metering(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    eventually(lambda: kept_file.pass_path(tmp_path, sidecar.pod).exists())
    sidecar.killed()
    aws.fault("*", "drop_before", times=None)
    with sidecar.again() as again:
        assert again.shows("entitled", SLOW)["reason"] == "kept_pass"
        again.takes_usage()
        product.used(again, 5)
        aws.clear_faults()
    assert billed(aws) == product.owed == 12


def test_a_pass_copied_to_another_workload_opens_nothing(aws: Emulator, tmp_path: Path) -> None:
    sidecar = by_metering(aws, tmp_path).start().ready()
    kept = kept_file.pass_path(tmp_path, sidecar.pod)
    eventually(kept.exists)
    stopped(sidecar)
    aws.fault("*", "drop_before", times=None)
    thief = by_metering(aws, tmp_path)
    shutil.copy(kept, kept_file.pass_path(tmp_path, thief.pod))
    with thief:
        assert thief.logged("registration.held")["kept_refused"] == "kept_other_workload"
        assert thief.probe()[0] == 503


@pytest.mark.slow
def test_a_kept_pass_does_not_open_a_gate_that_the_first_record_shut(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """AWS is unreachable after the restart; the last it said of this customer was no."""
    sidecar = denied_after_the_first_record(aws, tmp_path, product)
    sidecar.shows("denied")
    sidecar.killed()
    aws.fault("*", "drop_before", times=None)
    with sidecar.again() as again:
        again.logged("answer.reopened", SLOW)
        again.shows("denied", SLOW)
        assert again.events("gate.opened") == []


# -- overdue


def overdue(aws: Emulator, directory: Path, product: Product, policy: str) -> Metered:
    """Nothing was reported for more than two hours."""
    sidecar = Metered(aws, directory, SIDECAR_ON_METERING_OVERDUE=policy).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", "drop_before", times=None)
    aws.set_clock(now=at("12:50"))
    sidecar.logged("record.held", SLOW)
    sidecar.look()
    assert sidecar.probe("/readyz")[0] == 200, "it is not overdue before two hours are over"
    assert sidecar.events("metering.overdue") == []
    aws.set_clock(now=at("13:10"))
    sidecar.logged("metering.overdue", SLOW)
    return sidecar


@pytest.mark.parametrize(
    ("policy", "entitled", "ready"), [("alert", 200, 200), ("not_ready", 200, 503), ("shut", 503, 503)]
)
def test_overdue_metering_acts_as_set_until_a_record_is_accepted(
    aws: Emulator, tmp_path: Path, product: Product, policy: str, entitled: int, ready: int
) -> None:
    with overdue(aws, tmp_path, product, policy) as sidecar:
        eventually(lambda: (sidecar.probe()[0], sidecar.probe("/readyz")[0]) == (entitled, ready))
        assert sidecar.probe()[1]["metering_overdue_since"] == "2026-01-02T11:00:00.000Z"
        aws.clear_faults()
        aws.set_clock(now=at("13:30"))
        sidecar.logged("metering.recovered", SLOW)
        sidecar.shows("entitled")
        eventually(lambda: sidecar.probe("/readyz")[0] == 200)
        assert sidecar.probe()[1]["metering_overdue_since"] is None
    assert billed(aws) == product.owed


@pytest.mark.slow
def test_an_overdue_gate_opens_again_in_a_new_worker(aws: Emulator, tmp_path: Path, product: Product) -> None:
    """AWS takes the record in the new worker's first pass, before it could find out that it is overdue."""
    with overdue(aws, tmp_path, product, "shut") as sidecar:
        sidecar.shows("unavailable")
        aws.clear_faults()
        first = sidecar.worker()
        os.kill(first, signal.SIGSTOP)
        aws.set_clock(now=at("13:30"))
        os.kill(first, signal.SIGKILL)
        eventually(lambda: sidecar.worker() != first, SLOW)
        eventually(lambda: billed(aws) == 7, SLOW)
        sidecar.shows("entitled")
    assert billed(aws) == product.owed
