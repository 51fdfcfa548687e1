"""Read which ECS task this is from the task metadata endpoint, version 4.

Sources: Amazon ECS developer guide, "Amazon ECS task metadata endpoint version 4": the variable
ECS_CONTAINER_METADATA_URI_V4, path `/task`, fields TaskARN, Cluster, LaunchType, DesiredStatus. The region is the
fourth field of the ARN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from sidecar import local_http
from sidecar.errors import PlatformError
from sidecar.quick_dataclasses import dataclass

VARIABLE: Final = "ECS_CONTAINER_METADATA_URI_V4"
RESOURCE: Final = re.compile(r"task/[^/]+")
TRIES: Final = 3
"""The agent may be busy while a task starts."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task, as the ECS agent describes it."""

    arn: str
    region: str
    partition: str
    account: str
    cluster: str
    launch_type: str
    """`FARGATE`, `EC2`, `EXTERNAL`, or empty where an old agent does not say."""


def on_ecs(env: Mapping[str, str]) -> bool:
    return bool(env.get(VARIABLE))


def read_task(env: Mapping[str, str]) -> Task:
    """Ask the agent for the task. Raises PlatformError `task_metadata_unreadable`."""
    url = env[VARIABLE].rstrip("/") + "/task"
    fault = ""
    for _ in range(TRIES):
        try:
            return parse_task(local_http.get(url))
        except (OSError, ValueError) as exc:
            fault = str(exc)
    raise PlatformError("task_metadata_unreadable", f"{VARIABLE} names an endpoint that gives no task: {fault}")


def task_keeps_running(env: Mapping[str, str]) -> bool:
    """Return whether ECS keeps the task running, so that only this container ends. False where it cannot be told."""
    if not on_ecs(env):
        return False
    try:
        document = json.loads(local_http.get(env[VARIABLE].rstrip("/") + "/task"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("DesiredStatus") == "RUNNING"


def parse_task(body: bytes) -> Task:
    """Return the task in the endpoint's reply. Raises ValueError."""
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the answer is no JSON object")
    arn = str(document.get("TaskARN", ""))
    fields = arn.split(":", 5)
    if len(fields) != 6 or fields[0] != "arn" or fields[2] != "ecs" or not fields[3] or not RESOURCE.match(fields[5]):
        raise ValueError("the answer has no TaskARN of the form arn:PARTITION:ecs:REGION:ACCOUNT:task/…")
    return Task(
        arn=arn,
        region=fields[3],
        partition=fields[1],
        account=fields[4],
        cluster=str(document.get("Cluster", "")),
        launch_type=str(document.get("LaunchType", "")),
    )
