"""An hour has one event, whoever counts it again."""

from __future__ import annotations

from datetime import UTC, datetime

from sidecar.metering.hours import clock_hour
from sidecar.settings.pull_sources import PullSource, SourceKind
from sidecar.sources.heartbeat import beat

SOURCE = PullSource(kind=SourceKind.HEARTBEAT, dimension="pod_hours")
HOUR = clock_hour(datetime(2026, 1, 2, 12, 10, tzinfo=UTC))


def test_an_hour_has_the_same_event_again() -> None:
    assert beat(SOURCE, "pod", HOUR) == beat(SOURCE, "pod", HOUR)
    assert beat(SOURCE, "pod", HOUR).micros == 1_000_000


def test_another_hour_or_workload_has_another() -> None:
    ids = {beat(SOURCE, pod, hour).id for pod in ("pod", "other") for hour in (HOUR, HOUR + 1)}
    assert len(ids) == 4
