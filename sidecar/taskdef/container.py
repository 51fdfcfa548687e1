"""Define the sidecar's container of an ECS task definition.

Invariants:
- No `startTimeout`: on Fargate it ends the wait after 120 s at most, and AWS advises to retry for 30 minutes.
- No region variables and no published ports.

Sources: Amazon ECS API Reference, ContainerDefinition, HealthCheck, ContainerRestartPolicy.
"""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath
from typing import Final

from sidecar.errors import Exit
from sidecar.taskdef.schema import Json

NAME: Final = "entitlement-sidecar"
VOLUME: Final = "entitlement-state"
STATE_DIR: Final = "/var/lib/entitlement-sidecar"
USER: Final = "65532:65532"
"""The image's own user; repeated, because ECS shows and checks only what the definition has."""
FARGATE, EC2 = "FARGATE", "EC2"
LAUNCH_TYPES: Final = (FARGATE, EC2)
HEALTH_COMMAND: Final = ["CMD", NAME, "healthcheck"]
INTERVAL_SECONDS: Final = 10
"""The longest time until ECS notices an opened gate."""
RETRIES_MAX: Final = 10
START_PERIOD_SECONDS_MAX: Final = 300
STOP_SECONDS: Final = 60
"""Fargate Spot gives a task 120 s in all: the product's own stopTimeout may take the other half."""
STOP_SECONDS_MAX: Final = 120
"""Of Fargate, for startTimeout and stopTimeout."""
RESTART_SECONDS: Final = 60
"""The least ECS allows; a container that fails sooner is not restarted, and the task stops."""
NOT_RESTARTED: Final = (int(Exit.DENIED), int(Exit.CONFIG))
OWN_MEMORY: Final = {"memory": 256, "memoryReservation": 64}
"""MiB, for a task without a limit of its own; a burst of large pushes stays well below."""


def sidecar_container(image: str) -> Json:
    """Return the sidecar as a container of a task that shares one network (awsvpc) and has a size of its own."""
    return {
        "name": NAME,
        "image": image,
        "essential": True,
        "command": ["run"],
        "environment": [{"name": "SIDECAR_ON_DENIED", "value": "exit"}],
        "healthCheck": {
            "command": list(HEALTH_COMMAND),
            "interval": INTERVAL_SECONDS,
            "timeout": 5,
            "retries": RETRIES_MAX,
            "startPeriod": START_PERIOD_SECONDS_MAX,
        },
        "stopTimeout": STOP_SECONDS,
        "restartPolicy": {
            "enabled": True,
            "ignoredExitCodes": list(NOT_RESTARTED),
            "restartAttemptPeriod": RESTART_SECONDS,
        },
        "user": USER,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "mountPoints": [{"sourceVolume": VOLUME, "containerPath": STATE_DIR, "readOnly": False}],
    }


def variable(container: Json, name: str) -> str:
    """Return the value of an environment variable, empty where it is not set."""
    return next((one.get("value", "") for one in container.get("environment", []) if one["name"] == name), "")


def state_mount(container: Json) -> Json | None:
    """Return the mount that holds the state directory: of several, the deepest."""
    state = PurePosixPath(posixpath.normpath(variable(container, "SIDECAR_STATE_DIR") or STATE_DIR))
    paths = [(posixpath.normpath(one.get("containerPath", "")), one) for one in container.get("mountPoints", [])]
    holding = [(len(path), one) for path, one in paths if state.is_relative_to(path)]
    return max(holding, key=lambda found: found[0])[1] if holding else None
