"""Fleets come in and settle nearly as fast as AWS's quotas allow; one pod alone is not slowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet import report
from tests.fleet.__main__ import PAGE
from tests.fleet.quota import Answer, Quota
from tests.fleet.scenarios import (
    AT_ONCE,
    BACK,
    HOURLY,
    HOURLY_BACK,
    HOURLY_MORE,
    MINUTE,
    OVER_AN_HOUR,
    RULES,
    SIDECAR,
    TOLD,
    Metering,
    Starting,
    StartResult,
)
from tests.fleet.starting import ours, simulate

RATIO_MAX = 1.3
"""Of the time in which the quota lets all in."""
FEW_RATIO_MAX = 1.4
"""Of some hundred pods, whose bucket holds few calls."""
LAST_HOUR_CALLS = 1.5
"""A record, in the last hour of a fleet that meters."""
LAST_HOUR_CALLS_AFTER_OUTAGE = 1.7
SEEDS = (1, 2, 3)
FEW = Starting(name="300 at once", pods=300, times=1)
METERING = Metering(name="500 pods at a twentieth of the quota", pods=500, times=0.05, hours=3, burst_seconds=20)


def started(scenario: Starting, seed: int, rule: str = SIDECAR) -> StartResult:
    return scenario.run(RULES[rule](scenario), seed)


def test_one_pod_alone_is_entitled_by_its_first_call() -> None:
    found = simulate([0.0], Quota(5), ours, seed=1)
    assert (found.opened, found.calls) == ([0.0], [1])


@pytest.mark.parametrize("seed", SEEDS)
def test_one_pod_alone_is_let_in_within_a_minute_of_an_outage(seed: int) -> None:
    found = simulate([0.0], Quota(5, down_until=10_800), ours, seed)
    assert found.opened[0] - 10_800 <= 60


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fleet_that_starts_at_once_comes_in_as_fast_as_the_quota(seed: int) -> None:
    found = started(FEW, seed)
    assert found.ratio <= FEW_RATIO_MAX
    assert found.worst_seconds <= FEW_RATIO_MAX * FEW.ideal
    assert found.calls <= 12


def test_a_rule_that_knows_nothing_of_the_quota_is_found_out() -> None:
    assert max(started(FEW, seed, MINUTE).ratio for seed in SEEDS) > FEW_RATIO_MAX


def test_even_a_fleet_that_knows_its_size_needs_two_calls_a_pod() -> None:
    """The first leaves at once, and the bucket takes one second's."""
    assert started(FEW, 1, TOLD).calls >= 2 - FEW.rate / FEW.pods


def test_hours_settle_and_each_pod_has_found_its_moment_by_the_second() -> None:
    first, second, third = METERING.run(seed=1)
    assert first.late == second.late == third.late == 0
    assert max(hour.taken[-1] for hour in (first, second, third)) <= RATIO_MAX * METERING.ideal
    assert max(second.calls, third.calls) <= 1.5 * METERING.pods < first.calls


def test_one_pod_alone_meters_as_scheduled_with_one_call() -> None:
    for hour in Metering(name="one", pods=1, times=1, hours=3).run(seed=1):
        assert hour.calls == 1
        assert hour.taken[0] <= 480


def test_the_bucket_holds_a_second_and_fills_at_the_rate() -> None:
    quota = Quota(5)
    assert [quota.call(0.0) for _ in range(6)] == [Answer.TAKEN] * 5 + [Answer.THROTTLED]
    assert [quota.call(0.4) for _ in range(3)] == [Answer.TAKEN] * 2 + [Answer.THROTTLED]


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert report.start_row(SIDECAR, started(FEW, 7)) == report.start_row(SIDECAR, started(FEW, 7))
    assert report.start_row(SIDECAR, started(FEW, 7)) != report.start_row(SIDECAR, started(FEW, 8))


def test_a_page_without_the_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Evidence\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must have a line"):
        report.write_section(page, "text")


def test_the_page_has_the_section_that_the_command_writes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    report.write_section(page, "new text")
    assert "new text" in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "seed"),
    [*((one, 1) for one in (*AT_ONCE, *BACK, *OVER_AN_HOUR[1:])), (AT_ONCE[0], 2), (AT_ONCE[0], 3)],
    ids=lambda one: one if isinstance(one, int) else f"{one.name}-{one.rate:g}".replace(" ", "-"),
)
def test_a_large_fleet_comes_in_as_fast_as_the_quota(scenario: Starting, seed: int) -> None:
    found = started(scenario, seed)
    assert found.ratio <= RATIO_MAX
    assert found.worst_seconds <= RATIO_MAX * scenario.ideal
    assert found.calls <= 26


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [*HOURLY, HOURLY_MORE, HOURLY_BACK], ids=lambda one: f"{one.name}-{one.times:g}")
def test_no_hour_of_a_large_fleet_is_late(scenario: Metering) -> None:
    hours = scenario.run(1)
    assert sum(hour.late for hour in hours) == 0
    records = scenario.pods * scenario.dimensions
    assert all(len(hour.taken) == records for hour in hours)
    assert hours[-1].calls <= (LAST_HOUR_CALLS_AFTER_OUTAGE if scenario.down else LAST_HOUR_CALLS) * records
