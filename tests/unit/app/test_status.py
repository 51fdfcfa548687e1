"""What `/metrics` says of the process: its build, its loops, and its attempts to ask AWS."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

import sidecar
from sidecar.api.metrics import Metric
from sidecar.app.status import StatusView
from sidecar.billing.disabled import DisabledMetering
from sidecar.gate.history import GateHistory
from sidecar.gate.loop import EntitlementLoop
from tests.fakes.child import reporting
from tests.fakes.config import PRODUCT, settings
from tests.unit.gate.support import ACCEPTED, DENY, KEPT, Story


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(note=tmp_path / "termination-log")


def by_name(story: Story, loop: EntitlementLoop) -> dict[str, Metric]:
    view = StatusView(settings(), loop, story.clock, DisabledMetering(story.clock, Path("/nowhere")), GateHistory())
    return {one.name: one for one in view.metrics()}


def samples(metric: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(labels.values()): value for labels, value in metric.samples}


def test_build_info_has_the_versions_and_the_product(story: Story) -> None:
    found = by_name(story, story.loop())["build_info"]
    assert samples(found) == {(sidecar.__version__, platform.python_version(), PRODUCT): 1.0}


def test_attempts_and_passes_are_there_after_each_check(story: Story) -> None:
    loop = story.loop(reporting(DENY), reporting(ACCEPTED, kept=KEPT))
    before = by_name(story, loop)
    assert not before["aws_accepted_timestamp_seconds"].samples
    assert not before["loop_passed_timestamp_seconds"].samples
    loop.check_once()
    at, denied = story.clock.now().timestamp(), by_name(story, loop)
    assert samples(denied["aws_attempts_total"])["entitlement_check", "denied"] == 1
    assert not denied["aws_accepted_timestamp_seconds"].samples
    assert samples(denied["loop_passed_timestamp_seconds"]) == {("entitlement",): at}
    story.clock.advance(600)
    loop.check_once()
    accepted = by_name(story, loop)
    assert samples(accepted["aws_accepted_timestamp_seconds"]) == {("entitlement_check",): at + 600}
    assert samples(accepted["loop_passed_timestamp_seconds"]) == {("entitlement",): at + 600}


def test_what_is_not_metered_has_no_attempts_to_submit(story: Story) -> None:
    found = samples(by_name(story, story.loop())["aws_attempts_total"])
    assert {operation for operation, _ in found} == {"entitlement_check"}
