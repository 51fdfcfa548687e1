"""What answers on the two listeners: nothing, a sidecar in each state, or something else."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.cli import doctor
from sidecar.doctor.finding import Finding, Status
from tests.fakes.peer import Peer, http_answer
from tests.ports import free_port

from .support import PRODUCT, Container

GATE: dict[str, Any] = {
    "entitled": True,
    "status": "entitled",
    "reason": "registered",
    "hint": "Confirmed.",
    "product_code": PRODUCT,
    "metering_overdue_since": None,
}
STATUS: dict[str, Any] = {"version": "1.2.3", "started_at": "2026-01-02T12:00:00.000Z", "loops": {"gate": "running"}}


def runs(container: Container, document: dict[str, Any] | None = None, /, **gate: Any) -> Finding:
    """What is found where a sidecar answers on both listeners."""
    container.gate, container.status = GATE | gate, STATUS | (document or {})
    return container.check("listeners")


def bound(container: Container) -> Container:
    """Let the listeners have ports of their own."""
    return container.set(SIDECAR_PROBE_BIND=f"127.0.0.1:{free_port()}", SIDECAR_API_BIND=f"127.0.0.1:{free_port()}")


# -- a sidecar runs


def test_a_sidecar_whose_gate_is_open_passes_with_status_and_reason(container: Container) -> None:
    found = runs(container)
    assert found.status is Status.PASS
    assert found.seen == "sidecar 1.2.3, since 2026-01-02T12:00:00.000Z: entitled (registered)"


def test_a_gate_that_is_not_open_yet_is_a_warning(container: Container) -> None:
    found = runs(container, entitled=False, status="pending", reason="asking", hint="AWS is being asked.")
    assert (found.status, found.fix) == (Status.WARN, "AWS is being asked.")


@pytest.mark.parametrize("status", ["denied", "misconfigured", "unavailable"])
def test_a_gate_that_is_shut_fails_with_its_hint(container: Container, status: str) -> None:
    found = runs(container, entitled=False, status=status, reason="because", hint="Do\nthis.")
    assert (found.status, found.fix) == (Status.FAIL, "Do this.")
    assert f"{status} (because)" in found.seen


def test_a_loop_that_has_stopped_fails(container: Container) -> None:
    found = runs(container, {"loops": {"gate": "running", "metering": "stopped"}})
    assert found.status is Status.FAIL
    assert "stopped: metering" in found.seen


def test_usage_that_is_overdue_is_a_warning(container: Container) -> None:
    found = runs(container, metering_overdue_since="2026-01-02T10:00:00.000Z")
    assert found.status is Status.WARN
    assert "overdue since 2026-01-02T10:00:00.000Z" in found.seen


def test_the_fix_of_overdue_usage_has_the_hints_of_what_is_held(container: Container) -> None:
    held = {"metering": {"held": [{"reason": "license_used_up", "hint": "Buy more."}]}}
    found = runs(container, held, metering_overdue_since="2026-01-02T10:00:00.000Z")
    assert found.fix.endswith("for each record. Buy more.")


SEAT: dict[str, Any] = {"name": "seats", "lost_at": None, "fault": {"reason": "unreachable", "hint": "Look\nthere."}}
SOURCE: dict[str, Any] = {"source": "heartbeat/hours/1", "failing_since": None, "reason": None, "hint": None}


def test_a_lost_seat_and_a_source_that_fails_are_warnings_behind_an_open_gate(container: Container) -> None:
    lost = SEAT | {"lost_at": "2026-01-02T11:00:00.000Z"}
    fails = SOURCE | {"failing_since": "2026-01-02T11:30:00.000Z", "reason": "target_refused", "hint": "Correct it."}
    found = runs(container, {"licenses": {"seats": [SEAT, lost]}, "sources": [SOURCE, fails]})
    assert found.status is Status.WARN
    assert found.seen.count("seat seats is lost (unreachable)") == 1
    assert "source heartbeat/hours/1 fails since 2026-01-02T11:30:00.000Z (target_refused)" in found.seen
    assert found.fix.startswith("Look there. The seat is checked out again by itself, or at once with")
    assert found.fix.endswith("\nCorrect it.")


def test_a_hint_that_says_how_to_ask_again_is_not_told_so_twice(container: Container) -> None:
    hint = "It is asked again by itself, or at once with `entitlement-sidecar recheck`."
    lost = SEAT | {"lost_at": "2026-01-02T11:00:00.000Z", "fault": {"reason": "no_entitlements_allowed", "hint": hint}}
    assert runs(container, {"licenses": {"seats": [lost]}}).fix == hint


def test_usage_that_aws_does_not_take_yet_is_a_warning_with_its_hint(container: Container) -> None:
    held = {"reason": "license_used_up", "hint": "Buy more.", "oldest_hour": "2026-01-02T10:00:00.000Z"}
    found = runs(container, {"metering": {"held": [held]}})
    assert (found.status, found.fix) == (Status.WARN, "Buy more.")
    assert "usage waits since the hour 2026-01-02T10:00:00.000Z (license_used_up)" in found.seen


@pytest.mark.parametrize(("year", "status"), [(2020, Status.WARN), (2120, Status.PASS)])
def test_a_contract_that_has_ended_is_a_warning(container: Container, year: int, status: Status) -> None:
    found = runs(container, {"licenses": {"seats": [], "ends_at": f"{year}-01-02T00:00:00.000Z"}})
    assert found.status is status
    assert ("the contract ended" in found.seen) is (status is Status.WARN)


def test_seats_that_are_held_and_sources_that_are_read_pass(container: Container) -> None:
    document = {"licenses": {"seats": [SEAT]}, "sources": [SOURCE], "metering": None}
    assert runs(container, document).status is Status.PASS


def test_a_status_of_another_version_is_no_reason_to_fail(container: Container) -> None:
    assert runs(container, {"licenses": None, "sources": "x"}).status is Status.PASS


def test_the_sidecar_of_another_product_fails(container: Container) -> None:
    found = runs(container, product_code="prod2")
    assert found.status is Status.FAIL
    assert "of product prod2" in found.seen


@pytest.mark.parametrize("answers", ["probe", "product"])
def test_a_sidecar_that_answers_on_one_listener_alone_fails(container: Container, answers: str) -> None:
    container.gate = GATE if answers == "probe" else None
    container.status = STATUS if answers == "product" else None
    found = container.check("listeners")
    assert found.status is Status.FAIL
    assert f"only the {'probe' if answers == 'probe' else 'product'}" in found.seen


def test_what_answers_on_the_probe_port_without_a_gate_fails(container: Container) -> None:
    container.gate, container.status = {"hello": "world"}, STATUS
    assert container.check("listeners").status is Status.FAIL


# -- no sidecar runs


def test_free_ports_pass_and_are_free_afterwards(container: Container) -> None:
    bound(container)
    for _ in range(2):
        found = container.check("listeners")
        assert found.status is Status.PASS
        assert container.env["SIDECAR_PROBE_BIND"] in found.seen
        assert container.env["SIDECAR_API_BIND"] in found.seen


@pytest.mark.parametrize("setting", ["SIDECAR_PROBE_BIND", "SIDECAR_API_BIND"])
def test_a_port_that_something_else_has_fails_by_its_setting(container: Container, setting: str) -> None:
    server = container.running.enter_context(Peer([http_answer(200, "hello")]))
    found = bound(container).set(**{setting: f"127.0.0.1:{server.port}"}).check("listeners")
    assert found.status is Status.FAIL
    assert f"{setting}: cannot listen on 127.0.0.1:{server.port}" in found.seen
    assert f"set {setting} to another address" in found.fix


def test_the_command_asks_the_listeners_of_its_own_settings(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = container.running.enter_context(Peer([http_answer(200, GATE)]))
    monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{server.port}")
    assert doctor.read_gate(container.manifest) == (200, GATE)
    assert [one.target for one in server.requests] == ["/entitled"]
