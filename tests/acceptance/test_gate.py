"""The gate as a product and its operator meet it: real processes, real HTTP, real signatures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import PRODUCT, ROLE, Sidecar, eventually


def test_an_entitled_workload_opens_the_gate_and_says_who_it_is(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        shown = sidecar.shows("entitled")
        assert sidecar.probe()[0] == 200
        assert (shown["entitled"], shown["reason"], shown["product_code"]) == (True, "registered", PRODUCT)
        assert shown["metering_overdue_since"] is None
        assert [one.workload for one in aws.registrations()] == [sidecar.pod]
        status = sidecar.api("GET /v1/status")[1]
        assert status["workload"]["id"] == sidecar.pod
        assert status["aws"]["credential_source"] == "IRSA (web identity)"
        assert status["aws"]["role"] == ROLE
        assert sidecar.logged("registration.accepted")["workload"] == sidecar.pod


def test_a_denial_and_its_reason_are_in_the_termination_log(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with Sidecar(aws, tmp_path) as sidecar:
        shown = sidecar.shows("denied")
        assert sidecar.probe()[0] == 403
        assert shown["entitled"] is False
        assert shown["reason"] == "customer_not_entitled"
        eventually(lambda: "customer_not_entitled" in sidecar.note.read_text())
        assert sidecar.process is not None
        assert sidecar.process.poll() is None
        assert sidecar.probe("/healthz")[0] == 200
        assert sidecar.probe("/readyz")[0] == 503


def test_with_on_denied_exit_the_process_ends_with_77_and_says_why(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="exit") as sidecar:
        assert sidecar.ended() == 77
        assert "customer_not_entitled" in sidecar.note.read_text()
        assert len(sidecar.events("sidecar.stopped")) == 1


@pytest.mark.slow
def test_with_on_denied_exit_a_mistake_in_the_configuration_does_not_end_it(aws: Emulator, tmp_path: Path) -> None:
    aws.behave(allowed=False)
    with Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="exit") as sidecar:
        shown = sidecar.shows("misconfigured")
        assert shown["reason"] == "access_denied"
        assert "assumed-role" in shown["hint"] or ROLE in shown["hint"]
        assert sidecar.process is not None
        assert sidecar.process.poll() is None
        assert sidecar.note.read_text() == ""


def test_a_held_denial_opens_by_itself_once_the_customer_subscribes(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with Sidecar(aws, tmp_path, SIDECAR_REASK_SECONDS="1") as sidecar:
        sidecar.shows("denied")
        eventually(lambda: sidecar.note.read_text())
        aws.subscribe()
        assert sidecar.shows("entitled")["reason"] == "registered"
        assert sidecar.probe()[0] == 200
        eventually(lambda: sidecar.note.read_text() == "")


@pytest.mark.slow
def test_with_reask_seconds_zero_a_denial_is_not_asked_about_again(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with Sidecar(aws, tmp_path, SIDECAR_REASK_SECONDS="0") as sidecar:
        sidecar.shows("denied")
        assert sidecar.logged("registration.denied").get("retry_in_seconds") is None
        assert sidecar.api("POST /v1/recheck")[0] == 429


@pytest.mark.slow
def test_an_open_gate_stays_open_when_the_customer_unsubscribes(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        aws.unsubscribe()
        os.kill(sidecar.worker(), signal.SIGKILL)
        assert sidecar.shows("entitled")["reason"] == "registered"


@pytest.mark.slow
def test_throttling_is_pending_then_entitled(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", times=2)
    with Sidecar(aws, tmp_path) as sidecar:
        held = sidecar.logged("registration.held")
        assert (held["reason"], held["status"]) == ("throttled", "pending")
        sidecar.shows("entitled")


@pytest.mark.slow
def test_after_the_startup_budget_pending_becomes_unavailable_and_still_opens(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "InternalServiceErrorException", times=None)
    with Sidecar(aws, tmp_path, SIDECAR_STARTUP_RETRY_SECONDS="0") as sidecar:
        sidecar.shows("unavailable")
        assert sidecar.probe()[0] == 503
        aws.clear_faults()
        sidecar.shows("entitled")


@pytest.mark.slow
def test_a_key_superseded_at_aws_is_said_in_log_metric_and_status(aws: Emulator, tmp_path: Path) -> None:
    aws.behave(superseded=[1])
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.logged("public_key.superseded")["public_key_version"] == 1
        assert sidecar.api("GET /v1/status")[1]["entitlement"]["public_key_superseded_at"]
        assert metric(sidecar, "public_key_superseded") == "1"


@pytest.mark.slow
def test_an_answer_signed_by_another_key_denies(aws: Emulator, tmp_path: Path) -> None:
    aws.behave(wrong_key=True)
    with Sidecar(aws, tmp_path) as sidecar:
        shown = sidecar.shows("denied")
        assert shown["reason"] == "token_signature"
        assert sidecar.logged("token.rejected")["reason"] == "token_signature"
        assert len([call for call in aws.calls() if call.operation == "RegisterUsage"]) == 2, "asked once more first"


@pytest.mark.slow
def test_recheck_asks_again_but_not_within_fifteen_seconds(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        refused = sidecar.command("recheck")
        assert refused.returncode == 69
        assert "asked_just_now" in refused.stderr
    gone = sidecar.command("recheck")
    assert gone.returncode == 69
    assert "no sidecar answers" in gone.stderr


@pytest.mark.slow
def test_the_keys_of_the_manifest_are_asked_newest_first_and_fall_back(aws: Emulator, tmp_path: Path) -> None:
    key = aws.public_key()
    keys = [{"version": 7, "key": key}, {"version": 1, "key": key}]
    document = {"products": [{"code": PRODUCT, "public_keys": keys}], "allow_endpoint_override": True}
    sidecar = Sidecar(aws, tmp_path, SIDECAR_PRODUCT_CODE=None, SIDECAR_PUBLIC_KEY=None)
    with sidecar.sealed_by(document):
        sidecar.shows("entitled")
        answers = [call.answer for call in aws.calls() if call.operation == "RegisterUsage"]
        assert answers == ["InvalidPublicKeyVersionException", "ok"]


def test_what_the_manifest_seals_cannot_be_changed_from_outside(aws: Emulator, tmp_path: Path) -> None:
    document = {"products": [{"code": PRODUCT, "public_keys": [{"version": 1, "key": aws.public_key()}]}]}
    sidecar = Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="hold", SIDECAR_PRODUCT_CODE="free-product")
    with sidecar.sealed_by(document | {"on_denied": "exit"}):
        assert sidecar.ended() == 78
        assert "'hold'" in sidecar.text()
        assert "'exit'" in sidecar.text()
        assert "'free-product'" in sidecar.text()
        assert "allow_endpoint_override: false" in sidecar.text()
    assert aws.calls() == []


def metric(sidecar: Sidecar, name: str) -> str:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", sidecar.probe_port, timeout=5)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return next(line.split()[1] for line in page.splitlines() if line.startswith(f"entitlement_sidecar_{name} "))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGWINCH])
def test_signals_that_mean_more_workers_elsewhere_start_none(aws: Emulator, tmp_path: Path, number: int) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        before = sidecar.worker()
        sidecar.told(number)
        sidecar.told(signal.SIGCHLD)
        assert sidecar.shows("entitled")
        assert sidecar.worker() == before
        assert len(aws.registrations()) == 1
