"""Every fault of the disk makes the sidecar not ready, and a settled record is a pass for the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.app.wiring import metering
from sidecar.billing.disabled import DisabledMetering
from sidecar.billing.monitor import STUCK_SECONDS
from sidecar.entitlement import kept_pass
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.kept_file import pass_path
from sidecar.metering.outcomes import Outcome, Refused
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes.clock import FakeClock
from tests.fakes.config import PRODUCT, settings
from tests.integration.billing.support import (
    FakeGate,
    MakeScene,
    clock_time,
    no_end,
)


def test_a_disk_that_hangs_while_an_hour_is_sealed_is_a_fault(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_scene()
    one.use("3")
    seen: list[object] = []

    def hangs(*_: object, **__: object) -> tuple[()]:
        one.clock.advance(STUCK_SECONDS + 1)
        seen.append(one.service.fault)
        return ()

    monkeypatch.setattr(one.service.loop.ledger, "seal", hangs)
    one.at("11:00:30")
    assert seen
    assert all(fault is not None and fault[0] == "ledger_stuck" for fault in seen)  # type: ignore[index]
    assert one.service.fault is None


def test_a_slow_answer_of_aws_is_no_fault_of_the_disk(make_scene: MakeScene) -> None:
    one = make_scene()
    one.use("3")
    seen: list[object] = []

    def slow(request: SealedRequest) -> Outcome:
        one.clock.advance(STUCK_SECONDS + 1)
        seen.append(one.service.fault)
        return one.aws.record(request)

    one.aws.answers = [slow]
    one.at("11:00:30").at("11:10")
    assert seen == [None]
    assert one.service.fault is None
    assert one.aws.bill() == {"10": "3"}


def test_without_dimensions_there_is_no_metering() -> None:
    found = metering(settings(), FakeClock(), FakeGate(), no_end)
    assert isinstance(found, DisabledMetering)
    assert found.loop.stopped()
    assert found.status() is None
    assert found.metrics() == ()


def test_a_ledger_that_cannot_be_opened_is_a_fault(tmp_path: Path, make_scene: MakeScene) -> None:
    first = make_scene()
    second = make_scene()
    assert second.service.fault is not None
    assert second.service.fault[0] == "ledger_locked"
    assert second.samples()["ledger_writable{}"] == 0
    assert first.service.fault is None


def test_a_disk_that_does_not_answer_is_a_fault_like_one_that_refuses(make_scene: MakeScene) -> None:
    one = make_scene()
    one.service.loop.monitor.disk_waiting_since = one.clock.monotonic()
    one.clock.advance(STUCK_SECONDS)
    assert one.service.fault is None
    one.clock.advance(1)
    assert one.service.fault is not None
    assert one.service.fault[0] == "ledger_stuck"


def test_a_push_the_disk_refused_is_a_fault_at_once(make_scene: MakeScene) -> None:
    one = make_scene()
    ledger = one.service.loop.ledger
    assert ledger is not None
    ledger._writer.fault = LedgerError("ledger_full")
    assert one.service.fault is not None
    assert one.service.fault[0] == "ledger_full"
    one.at("10:21")
    assert one.service.fault is None, "the pass wrote"


@pytest.mark.parametrize(("policy", "reason"), [("not_ready", "metering_overdue"), ("alert", None)])
def test_overdue_metering_is_not_ready_only_where_that_is_set(
    make_scene: MakeScene, policy: str, reason: str | None
) -> None:
    one = make_scene(on_metering_overdue=policy)
    one.use("1")
    one.aws.always = Refused(code="EndpointConnectionError")
    one.at("11:00:30").at("11:10").at("13:10")
    assert one.service.loop.overdue_since == clock_time("11:00")
    assert (one.service.fault or (None,))[0] == reason
    assert one.samples()["metering_overdue{}"] == 1


def test_a_settled_record_is_stored_as_a_pass_under_meter_usage(make_scene: MakeScene) -> None:
    one = make_scene(entitlement_check="meter_usage")
    one.use("1")
    one.at("11:00:30").at("11:10")
    kept = kept_pass.from_text(pass_path(one.directory, "pod-1").read_text())
    kept_pass.verify_kept(kept, WorkloadId("pod-1"), ProductCode(PRODUCT), ["requests"])


def test_under_register_usage_no_pass_is_stored(make_scene: MakeScene) -> None:
    one = make_scene()
    one.use("1")
    one.at("11:00:30").at("11:10")
    assert not pass_path(one.directory, "pod-1").exists()


def test_a_writer_that_died_is_a_loop_that_stopped(make_scene: MakeScene) -> None:
    one = make_scene()
    assert one.service.loop.stopped_loop is None
    assert one.service.loop.ledger is not None
    one.service.loop.ledger.close()
    assert one.service.loop.stopped_loop == "metering"
