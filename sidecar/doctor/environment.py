"""Complete the environment of a command that was started inside a running ECS task.

ECS gives some variables to a container's first process alone; a shell or command of ECS Exec does not have them, and
would see a task without a role.

Invariants:
- Only names of `FROM_FIRST` are taken, and only where this process has none of that name.
- Where the first process cannot be read, the environment is as it is.

Sources: Amazon ECS developer guide, "Task IAM role": AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is available only to the
process with id 1; proc(5), /proc/PID/environ.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FIRST: Final = Path("/proc/1/environ")
FROM_FIRST: Final = (
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "ECS_CONTAINER_METADATA_URI_V4"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV"),
)


def with_first_process(env: Mapping[str, str], first: Path = FIRST) -> dict[str, str]:
    """Return the environment with what only the container's first process has of an ECS task's."""
    found = _read(first)
    if "ECS_CONTAINER_METADATA_URI_V4" not in found:
        return dict(env)
    return {name: found[name] for name in FROM_FIRST if name in found} | dict(env)


def _read(path: Path) -> dict[str, str]:
    try:
        entries = path.read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (entry.decode("utf-8", "replace").partition("=") for entry in entries)
    return {name: value for name, mark, value in pairs if mark}
