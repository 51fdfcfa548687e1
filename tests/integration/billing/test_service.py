"""What status, metrics and readiness show of metering: what the last pass left, and every fault of the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.api import metrics
from sidecar.app.wiring import metering
from sidecar.billing.disabled import DisabledMetering
from sidecar.billing.service import STUCK_SECONDS, MeteringService
from sidecar.entitlement import kept_pass
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.errors import Exit
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.kept_file import pass_path
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.outcomes import Outcome, Refused
from sidecar.metering.quantities import parse_micros
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes import PRODUCT, FakeClock, hearing, settings
from tests.integration.billing.test_loop import PLACE, Aws, FakeGate, clock_time


def no_end(code: Exit, text: str) -> None:
    raise AssertionError(f"the process would end with {code}: {text}")


class Scene:
    """A meter, its clock and AWS."""

    def __init__(self, directory: Path, workload: str = PLACE.workload, **more: str) -> None:
        self.directory = directory
        self.clock, self.aws, self.gate = FakeClock(at=clock_time("10:20")), Aws(), FakeGate()
        given = {"state_dir": str(directory), "dimensions": "requests"} | more
        self.meter = MeteringService(settings(**given), self.clock, self.gate, no_end, self.aws)  # type: ignore[arg-type]
        self.meter.set_identity(workload, PLACE.region)
        self.at("10:20")

    def at(self, words: str) -> Scene:
        self.clock.advance((clock_time(words) - self.clock.at).total_seconds())
        self.meter.settlement.run_once()
        return self

    def use(self, quantity: str, dimension: str = "requests") -> PushAccepted | PushRefused:
        ledger = self.meter.settlement.ledger
        assert ledger is not None
        return ledger.push([UsageEvent(dimension=dimension, micros=parse_micros(quantity))], self.clock.now())

    def samples(self) -> dict[str, float]:
        """Name and labels → value, as Prometheus would read them."""
        found = {}
        for family in text_string_to_metric_families(metrics.text(self.meter.metrics()).decode()):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name.removeprefix('entitlement_sidecar_')}{{{labels}}}"] = sample.value
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(**more: str) -> Scene:
        scenes.append(Scene(tmp_path, **more))
        return scenes[-1]

    with hearing():
        yield make
    for one in scenes:
        if one.meter.settlement.ledger:
            one.meter.settlement.ledger.close()


def test_a_disk_that_hangs_while_an_hour_is_sealed_is_a_fault(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scene()
    one.use("3")
    seen: list[object] = []

    def hangs(*_: object) -> tuple[()]:
        one.clock.advance(STUCK_SECONDS + 1)
        seen.append(one.meter.fault)
        return ()

    monkeypatch.setattr(one.meter.settlement.ledger, "seal", hangs)
    one.at("11:00:30")
    assert seen
    assert all(fault is not None and fault[0] == "ledger_stuck" for fault in seen)  # type: ignore[index]
    assert one.meter.fault is None


def test_aws_that_answers_slowly_is_no_fault_of_the_disk(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.use("3")
    seen: list[object] = []

    def slow(request: SealedRequest) -> Outcome:
        one.clock.advance(STUCK_SECONDS + 1)
        seen.append(one.meter.fault)
        return one.aws.record(request)

    one.aws.answers = [slow]
    one.at("11:00:30").at("11:10")
    assert seen == [None]
    assert one.meter.fault is None
    assert one.aws.bill() == {"10": "3"}


def test_status_says_why_records_wait_and_what_to_do(scene: Callable[..., Scene]) -> None:
    one = scene(dimensions="requests,other")
    one.aws.always = Refused(code="AccessDeniedException")
    one.use("3")
    one.at("11:00:30").at("11:10")
    (held,) = one.meter.status()["held"]  # type: ignore[misc]
    assert (held["aws_error"], held["reason"]) == ("AccessDeniedException", "access_denied")
    assert "aws-marketplace:MeterUsage" in held["hint"]
    assert held["oldest_hour"] == "2026-01-02T10:00:00.000Z"
    one.aws.always = None
    one.at("11:40")
    assert one.meter.status()["held"] == []


def test_without_dimensions_there_is_no_metering() -> None:
    found = metering(settings(), FakeClock(), FakeGate(), no_end)
    assert isinstance(found, DisabledMetering)
    assert found.stopped()
    assert found.status() is None
    assert found.metrics() == ()


def test_metrics_tell_accepted_settled_and_waiting(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.use("3")
    one.at("11:00:30").at("11:10")
    one.use("4")
    one.at("11:11")
    found = one.samples()
    assert found["usage_events_total{result=accepted}"] == 2
    assert found["usage_quantity_accepted_total{dimension=requests}"] == 7
    assert found["usage_quantity_settled_total{dimension=requests}"] == 3
    assert found["usage_quantity_waiting{dimension=requests}"] == 4
    assert found["usage_records{state=settled}"] == 1
    assert found["usage_answers_total{disposition=settle}"] == 1
    assert found["usage_oldest_unsettled_seconds{}"] == 0
    assert found["ledger_writable{}"] == 1
    assert found["ledger_commits_total{}"] > 0
    assert found["ledger_bytes{}"] > 0
    assert found["metering_overdue{}"] == 0


def test_metrics_tell_how_old_the_oldest_waiting_hour_is(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.use("3")
    one.aws.always = Refused(code="EndpointConnectionError")
    one.at("11:00:30").at("12:30")
    found = one.samples()
    assert found["usage_oldest_unsettled_seconds{}"] == timedelta(hours=1, minutes=30).total_seconds()
    assert found["usage_records{state=sealed}"] == 1


def test_refused_pushes_are_counted_by_reason(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.meter.usage.count_refusal("quantity_malformed")
    one.meter.usage.count_refusal("quantity_malformed")
    assert one.samples()["usage_refused_total{reason=quantity_malformed}"] == 2


def test_status_says_what_waits_for_a_person(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.use("3")
    assert one.meter.status()["hint"] is None
    one.aws.always = Refused(code="InvalidUsageDimensionException")
    one.at("11:00:30").at("11:10")
    status = one.meter.status()
    assert "rejected" in str(status["hint"])
    assert "usage retry" in str(status["hint"])
    assert status["oldest_unsettled_hour"] == "2026-01-02T10:00:00.000Z"
    assert status["quantities"] == {"requests": {"accepted": "3", "settled": "0", "waiting": "3"}}


def test_status_and_metrics_say_that_usage_waits_for_an_hour_far_ahead(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.at("15:00:30").at("10:30")
    assert (one.meter.status()["hint"], one.samples()["usage_postponed{}"]) == (None, 0)
    one.use("3")
    one.at("10:31")
    hint = str(one.meter.status()["hint"])
    assert "3 of requests wait for 2026-01-02T15:00:00.000Z" in hint
    assert "clock" in hint
    assert one.samples()["usage_postponed{}"] == 1
    one.at("15:30")
    assert (one.meter.status()["hint"], one.samples()["usage_postponed{}"]) == (None, 0)


def gone(one: Scene) -> None:
    assert one.meter.settlement.ledger is not None
    one.meter.settlement.ledger.close()


def test_status_names_usage_whose_dimension_is_not_configured_here_and_on_the_volume(
    scene: Callable[..., Scene],
) -> None:
    for workload, quantity in (("pod-0", "3"), ("pod-1", "2")):
        before = scene(workload=workload, dimensions="b")
        before.use(quantity, "b")
        gone(before)
    one = scene()
    assert "5 of b wait" in str(one.meter.status()["hint"])
    assert "SIDECAR_DIMENSIONS" in str(one.meter.status()["hint"])
    gone(one)
    assert scene(dimensions="b,requests").meter.status()["hint"] is None


def test_status_and_metrics_count_records_of_dead_workloads_that_wait_for_a_person(
    scene: Callable[..., Scene],
) -> None:
    before = scene(workload="pod-0")
    assert before.samples()["usage_records_orphaned{}"] == 0
    assert before.meter.status()["orphaned"] == ()
    before.aws.always = Refused(code="InvalidUsageDimensionException")
    before.use("3")
    before.at("11:00:30").at("11:10")
    gone(before)
    one = scene()
    assert one.samples()["usage_records_orphaned{}"] == 1
    status = one.meter.status()
    assert "gone: 1. " in str(status["hint"])
    assert "`usage.orphaned`" in str(status["hint"])
    (orphan,) = status["orphaned"]  # type: ignore[misc]
    assert (orphan["gone_workload"], orphan["quantity"], orphan["state"]) == ("pod-0", "3", "rejected")


def test_before_the_ledger_is_open_status_and_metrics_are_there_all_the_same(tmp_path: Path) -> None:
    meter = MeteringService(settings(state_dir=str(tmp_path), dimensions="requests"), FakeClock(), FakeGate(), no_end)
    assert meter.status()["open_hour"] is None
    assert meter.fault is not None
    assert meter.fault[0] == "workload_unknown"
    assert metrics.text(meter.metrics())


def test_a_ledger_that_cannot_be_opened_is_a_fault(tmp_path: Path, scene: Callable[..., Scene]) -> None:
    first = scene()
    second = scene()
    assert second.meter.fault is not None
    assert second.meter.fault[0] == "ledger_locked"
    assert second.samples()["ledger_writable{}"] == 0
    assert first.meter.fault is None


def test_a_disk_that_does_not_answer_is_a_fault_like_one_that_refuses(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.meter.settlement.checking_since = one.clock.monotonic()
    one.clock.advance(STUCK_SECONDS)
    assert one.meter.fault is None
    one.clock.advance(1)
    assert one.meter.fault is not None
    assert one.meter.fault[0] == "ledger_stuck"


def test_a_push_the_disk_refused_is_a_fault_at_once(scene: Callable[..., Scene]) -> None:
    one = scene()
    ledger = one.meter.settlement.ledger
    assert ledger is not None
    ledger._writer.fault = LedgerError("ledger_full")
    assert one.meter.fault is not None
    assert one.meter.fault[0] == "ledger_full"
    one.at("10:21")
    assert one.meter.fault is None, "the pass wrote"


@pytest.mark.parametrize(("policy", "reason"), [("not_ready", "metering_overdue"), ("alert", None)])
def test_overdue_metering_is_not_ready_only_where_that_is_set(
    scene: Callable[..., Scene], policy: str, reason: str | None
) -> None:
    one = scene(on_metering_overdue=policy)
    one.use("1")
    one.aws.always = Refused(code="EndpointConnectionError")
    one.at("11:00:30").at("11:10").at("13:10")
    assert one.meter.overdue_since == clock_time("11:00")
    assert (one.meter.fault or (None,))[0] == reason
    assert one.samples()["metering_overdue{}"] == 1


def test_a_settled_record_is_kept_as_a_pass_where_the_gate_asks_by_metering(scene: Callable[..., Scene]) -> None:
    one = scene(entitlement_check="meter_usage")
    one.use("1")
    one.at("11:00:30").at("11:10")
    kept = kept_pass.from_text(pass_path(one.directory, "pod-1").read_text())
    kept_pass.reopen(kept, WorkloadId("pod-1"), ProductCode(PRODUCT), ["requests"])


def test_under_register_usage_no_pass_is_kept(scene: Callable[..., Scene]) -> None:
    one = scene()
    one.use("1")
    one.at("11:00:30").at("11:10")
    assert not pass_path(one.directory, "pod-1").exists()


def test_a_writer_that_died_is_a_loop_that_stopped(scene: Callable[..., Scene]) -> None:
    one = scene()
    assert one.meter.stopped_loop is None
    assert one.meter.settlement.ledger is not None
    one.meter.settlement.ledger.close()
    assert one.meter.stopped_loop == "metering"
