"""Decide as the ECS agent does when a container starts, restarts and stops, and whether it is healthy. Pure functions.

Fargate's agent is not public: what AWS documents for it follows the same rules here.

Sources: the agent's code (github.com/aws/amazon-ecs-agent, Apache-2.0; read at 8dfceca6c), Docker's documentation of
HEALTHCHECK, the Amazon ECS API Reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from sidecar.quick_dataclasses import dataclass, field


class Status(Enum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class Health(Enum):
    UNKNOWN = "UNKNOWN"
    """No check is defined, or none has counted yet."""
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


@dataclass
class Container:
    """One container of a task, as far as the agent knows it. Instants are monotonic seconds."""

    definition: Mapping[str, Any]
    status: Status = Status.PENDING
    health: Health = Health.UNKNOWN
    failures: int = 0
    """Consecutive failed checks that counted."""
    started_at: float | None = None
    restarted_at: float | None = None
    stopped_at: float | None = None
    exit_code: int | None = None
    reason: str = ""
    restarts: int = 0
    output: str = ""
    """The output of the last health check."""
    healths: list[Health] = field(default_factory=list)
    """The health after each check, in order."""

    @property
    def name(self) -> str:
        return str(self.definition["name"])

    @property
    def essential(self) -> bool:
        return self.definition.get("essential", True) is True

    @property
    def stop_seconds(self) -> int:
        return int(self.definition.get("stopTimeout", 30))


class NeverResolves(Exception):
    """A dependency that can no longer be met: the dependent is not started, and the task stops."""


def may_start(container: Container, others: Mapping[str, Container], now: float, second: float = 1.0) -> bool:
    """Return whether every dependency is met. Raises NeverResolves.

    agent/engine/dependencygraph/graph.go: verifyContainerOrderingStatusResolvable. An UNHEALTHY dependency is waited
    for like an UNKNOWN one; only its `startTimeout` ends the wait, and without one nothing does.
    """
    return all(_fulfilled(one, others[one["containerName"]], now, second) for one in container.definition["dependsOn"])


def _fulfilled(dependency: Mapping[str, str], on: Container, now: float, second: float) -> bool:
    condition = dependency["condition"]
    stopped = on.status is Status.STOPPED
    limit = on.definition.get("startTimeout", 0) * second
    if condition != "START" and not stopped and on.started_at is not None and 0 < limit < now - on.started_at:
        raise NeverResolves(f"dependency on {on.name} ({condition}) has timed out")
    if condition == "SUCCESS" and stopped and on.exit_code != 0:
        raise NeverResolves(f"dependency on {on.name} (SUCCESS) did not exit successfully")
    if stopped and on.started_at is None:
        raise NeverResolves(f"dependency on {on.name} ({condition}) will never start")
    if condition == "HEALTHY":
        return on.health is Health.HEALTHY
    if condition == "START":
        return on.status is not Status.PENDING
    return stopped and on.exit_code is not None


def may_stop(container: Container, others: Mapping[str, Container]) -> bool:
    """Return whether all its dependents, under any condition, have stopped (graph.go: verifyShutdownOrder)."""
    return all(
        one.status is Status.STOPPED
        for one in others.values()
        if any(dependency["containerName"] == container.name for dependency in one.definition.get("dependsOn", []))
    )


def restarts(container: Container, exit_code: int, now: float, task_should_run: bool, second: float = 1.0) -> bool:
    """Return whether a container that ended is restarted. One that ended too early never is.

    ecs-agent/api/container/restart/restart_tracker.go: ShouldRestart.
    """
    policy = container.definition.get("restartPolicy", {})
    since = container.restarted_at if container.restarted_at is not None else container.started_at
    return bool(
        policy.get("enabled")
        and task_should_run
        and exit_code not in policy.get("ignoredExitCodes", [])
        and since is not None
        and now - since >= policy.get("restartAttemptPeriod", 300) * second
    )


def checked(container: Container, passed: bool, now: float, second: float = 1.0) -> None:
    """Count one health check: a pass counts at once; a failure counts after the start period, or after a pass."""
    check = container.definition["healthCheck"]
    if passed:
        container.failures, container.health = 0, Health.HEALTHY
    else:
        began = max(container.started_at or 0.0, container.restarted_at or 0.0)
        in_start = container.health is Health.UNKNOWN and now - began < check.get("startPeriod", 0) * second
        container.failures += 0 if in_start else 1
        if container.failures >= check.get("retries", 3):
            container.health = Health.UNHEALTHY
    container.healths.append(container.health)
