"""The local ECS follows the rules of the agent's code and AWS's documentation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ecs.agent_rules import Container, Health, NeverResolves, Status, checked, may_start, may_stop, restarts
from tests.ecs.local_ecs import Unsupported, refuse_unsupported
from tests.ecs.templates import DIRECTORY, filled

CHECK = {"command": ["CMD", "true"], "interval": 10, "retries": 3, "startPeriod": 60}


def gate(status: Status = Status.RUNNING, health: Health = Health.UNKNOWN, **more: Any) -> Container:
    definition = {"name": "gate", "healthCheck": CHECK, "dependsOn": [], **more.pop("definition", {})}
    return Container(
        definition=definition, status=status, health=health, started_at=more.pop("started_at", 0.0), **more
    )


def app(condition: str) -> Container:
    return Container(definition={"name": "app", "dependsOn": [{"containerName": "gate", "condition": condition}]})


def may(condition: str, on: Container, now: float = 0.0) -> bool:
    return may_start(app(condition), {"gate": on}, now)


def test_healthy_waits_for_a_pass_and_an_unhealthy_gate_is_waited_for_too() -> None:
    assert may("HEALTHY", gate(health=Health.HEALTHY))
    for health in (Health.UNKNOWN, Health.UNHEALTHY):
        assert not may("HEALTHY", gate(health=health), now=1e6), "without startTimeout nothing ends the wait"


def test_a_start_timeout_ends_each_wait_but_that_for_start() -> None:
    limited = {"startTimeout": 120}
    for condition in ("HEALTHY", "SUCCESS", "COMPLETE"):
        assert not may(condition, gate(definition=limited), now=119.0)
        with pytest.raises(NeverResolves, match="timed out"):
            may(condition, gate(definition=limited), now=121.0)
    assert may("START", gate(definition=limited), now=121.0)


def test_success_is_zero_and_complete_is_any_code() -> None:
    for code, fulfilled in ((0, True), (77, False)):
        ended = gate(Status.STOPPED, exit_code=code)
        assert may("COMPLETE", ended)
        if fulfilled:
            assert may("SUCCESS", ended)
        else:
            with pytest.raises(NeverResolves):
                may("SUCCESS", ended)


def test_a_dependency_that_never_started_fails_at_once() -> None:
    with pytest.raises(NeverResolves, match="never start"):
        may("START", gate(Status.STOPPED, started_at=None))


@pytest.mark.parametrize("condition", ["START", "HEALTHY", "SUCCESS", "COMPLETE"])
def test_the_gate_stops_only_after_its_dependents(condition: str) -> None:
    dependent, on = app(condition), gate()
    both = {"gate": on, "app": dependent}
    dependent.status = Status.RUNNING
    assert (may_stop(dependent, both), may_stop(on, both)) == (True, False)
    dependent.status = Status.STOPPED
    assert may_stop(on, both)


def policy(**changed: Any) -> dict[str, Any]:
    return {"restartPolicy": {"enabled": True, "ignoredExitCodes": [77], "restartAttemptPeriod": 60} | changed}


@pytest.mark.parametrize(
    ("definition", "code", "now", "should_run", "expected"),
    [
        (policy(), 1, 60.0, True, True),
        (policy(), 1, 59.0, True, False),
        (policy(), 77, 600.0, True, False),
        (policy(), 1, 600.0, False, False),
        (policy(enabled=False), 1, 600.0, True, False),
        ({}, 1, 600.0, True, False),
    ],
)
def test_a_container_is_restarted_by_its_policy_alone(
    definition: dict[str, Any], code: int, now: float, should_run: bool, expected: bool
) -> None:
    assert restarts(gate(definition=definition), code, now, should_run) is expected


def test_the_period_counts_from_the_last_restart() -> None:
    assert not restarts(gate(definition=policy(), restarted_at=100.0), 1, 159.0, True)


def test_failures_count_after_the_start_period_or_after_a_pass() -> None:
    one = gate()
    for at in (10.0, 20.0, 30.0, 40.0):
        checked(one, False, at)
    assert (one.health, one.failures) == (Health.UNKNOWN, 0)
    for at in (70.0, 80.0, 90.0):
        checked(one, False, at)
    assert one.health is Health.UNHEALTHY
    checked(one, True, 95.0)
    assert (one.health, one.failures) == (Health.HEALTHY, 0)
    early = gate()
    checked(early, True, 5.0)
    for at in (10.0, 20.0, 30.0):
        checked(early, False, at)
    assert early.health is Health.UNHEALTHY, "a pass ends the start period"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"networkMode": "host"}, "networkMode"),
        ({"pidMode": "task"}, "pidMode"),
        ({"volumes": [{"name": "v", "efsVolumeConfiguration": {}}]}, "volume v"),
        ({"containerDefinitions": [{"name": "a", "secrets": []}]}, "a.secrets"),
        ({"containerDefinitions": [{"name": "a", "startTimeout": 121}]}, "a.startTimeout 121"),
    ],
)
def test_an_unsupported_field_is_refused(changed: dict[str, Any], words: str) -> None:
    whole = filled((DIRECTORY / "fargate.json").read_text())
    refuse_unsupported(whole, "FARGATE")
    with pytest.raises(Unsupported, match=words):
        refuse_unsupported(whole | changed, "FARGATE")
