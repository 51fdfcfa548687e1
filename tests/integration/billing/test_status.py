"""Status and metrics show what the last pass left, and what a person has to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sidecar.api import metrics
from sidecar.billing.service import MeteringService
from sidecar.metering.outcomes import Refused
from tests.fakes.clock import FakeClock
from tests.fakes.config import settings
from tests.integration.billing.support import (
    FakeGate,
    MakeScene,
    Scene,
    no_end,
)


def test_status_says_why_records_wait_and_what_to_do(make_scene: MakeScene) -> None:
    one = make_scene(dimensions="requests,other")
    one.aws.always = Refused(code="AccessDeniedException")
    one.use("3")
    one.at("11:00:30").at("11:10")
    (held,) = one.service.status()["held"]  # type: ignore[misc]
    assert (held["aws_error"], held["reason"]) == ("AccessDeniedException", "access_denied")
    assert "aws-marketplace:MeterUsage" in held["hint"]
    assert held["oldest_hour"] == "2026-01-02T10:00:00.000Z"
    one.aws.always = None
    one.at("11:40")
    assert one.service.status()["held"] == []


def test_metrics_show_accepted_settled_and_waiting(make_scene: MakeScene) -> None:
    one = make_scene()
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


def test_metrics_show_the_age_of_the_oldest_waiting_hour(make_scene: MakeScene) -> None:
    one = make_scene()
    one.use("3")
    one.aws.always = Refused(code="EndpointConnectionError")
    one.at("11:00:30").at("12:30")
    found = one.samples()
    attempts = one.service.attempts
    assert attempts.by_outcome()["failed"] == sum(attempts.by_outcome().values()) > 0
    assert attempts.accepted_at is None
    one.aws.always = None
    one.at("13:30")
    assert attempts.by_outcome()["accepted"] == 1
    assert attempts.accepted_at == one.service.passed_at == one.clock.now()
    assert found["usage_oldest_unsettled_seconds{}"] == timedelta(hours=1, minutes=30).total_seconds()
    assert found["usage_records{state=sealed}"] == 1


def test_refused_pushes_are_counted_by_reason(make_scene: MakeScene) -> None:
    one = make_scene()
    one.service.usage.count_refusal("quantity_malformed")
    one.service.usage.count_refusal("quantity_malformed")
    assert one.samples()["usage_refused_total{reason=quantity_malformed}"] == 2


def test_status_says_what_waits_for_a_person(make_scene: MakeScene) -> None:
    one = make_scene()
    one.use("3")
    assert one.service.status()["hint"] is None
    one.aws.always = Refused(code="InvalidUsageDimensionException")
    one.at("11:00:30").at("11:10")
    status = one.service.status()
    assert "rejected" in str(status["hint"])
    assert "usage retry" in str(status["hint"])
    assert status["oldest_unsettled_hour"] == "2026-01-02T10:00:00.000Z"
    assert status["quantities"] == {
        "requests": {"accepted": "3", "settled": "0", "waiting": "3", "written_off": "0", "over_billed": "0"}
    }


def test_status_and_metrics_say_that_usage_waits_for_an_hour_far_ahead(make_scene: MakeScene) -> None:
    one = make_scene()
    one.at("15:00:30").at("10:30")
    assert (one.service.status()["hint"], one.samples()["usage_postponed{}"]) == (None, 0)
    one.use("3")
    one.at("10:31")
    hint = str(one.service.status()["hint"])
    assert "3 of requests wait for 2026-01-02T15:00:00.000Z" in hint
    assert "clock" in hint
    assert one.samples()["usage_postponed{}"] == 1
    one.at("15:30")
    assert (one.service.status()["hint"], one.samples()["usage_postponed{}"]) == (None, 0)


def gone(one: Scene) -> None:
    assert one.service.loop.ledger is not None
    one.service.loop.ledger.close()


def test_status_names_usage_of_unconfigured_dimensions(
    make_scene: MakeScene,
) -> None:
    """It adds up what waits here and in other ledgers on the volume."""
    for workload, quantity in (("pod-0", "3"), ("pod-1", "2")):
        before = make_scene(workload=workload, dimensions="b")
        before.use(quantity, "b")
        gone(before)
    one = make_scene()
    assert "5 of b wait" in str(one.service.status()["hint"])
    assert "SIDECAR_DIMENSIONS" in str(one.service.status()["hint"])
    assert one.samples()["usage_quantity_unconfigured{dimension=b}"] == 5
    gone(one)
    after = make_scene(dimensions="b,requests")
    assert after.service.status()["hint"] is None
    assert "usage_quantity_unconfigured{dimension=b}" not in after.samples()


def test_status_and_metrics_count_orphaned_records(
    make_scene: MakeScene,
) -> None:
    before = make_scene(workload="pod-0")
    assert before.samples()["usage_records_orphaned{}"] == 0
    assert before.service.status()["orphaned"] == ()
    before.aws.always = Refused(code="InvalidUsageDimensionException")
    before.use("3")
    before.at("11:00:30").at("11:10")
    gone(before)
    one = make_scene()
    assert one.samples()["usage_records_orphaned{}"] == 1
    status = one.service.status()
    assert "gone: 1. " in str(status["hint"])
    assert "`usage retry --workload W --roll-forward`" in str(status["hint"])
    (orphan,) = status["orphaned"]  # type: ignore[misc]
    assert (orphan["gone_workload"], orphan["quantity"], orphan["state"]) == ("pod-0", "3", "rejected")


def test_status_and_metrics_exist_before_the_ledger_is_open(tmp_path: Path) -> None:
    service = MeteringService(settings(state_dir=str(tmp_path), dimensions="requests"), FakeClock(), FakeGate(), no_end)
    assert service.status()["open_hour"] is None
    assert service.fault is not None
    assert service.fault[0] == "workload_unknown"
    assert metrics.text(service.metrics())
