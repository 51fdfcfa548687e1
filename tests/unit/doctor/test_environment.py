"""A command inside a running ECS task sees the task's role, and nothing else of the first process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.doctor.environment import with_first_process

TASK = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x", "AWS_REGION": "us-east-1"}
ROLE = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}


def environ(directory: Path, **variables: str) -> Path:
    path = directory / "environ"
    path.write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in variables.items()))
    return path


def test_what_ecs_gives_the_first_process_alone_is_seen(tmp_path: Path) -> None:
    first = environ(tmp_path, **TASK, **ROLE, SIDECAR_ON_DENIED="exit", PASSWORD="secret")
    assert with_first_process({"HOME": "/"}, first) == {"HOME": "/", **TASK, **ROLE}


def test_what_is_set_here_stays(tmp_path: Path) -> None:
    found = with_first_process({"AWS_REGION": "eu-west-1"}, environ(tmp_path, **TASK, **ROLE))
    assert found["AWS_REGION"] == "eu-west-1"


@pytest.mark.parametrize("variables", [{}, ROLE, {"AWS_REGION": "us-east-1"}])
def test_a_first_process_outside_ecs_is_not_looked_at(tmp_path: Path, variables: dict[str, str]) -> None:
    assert with_first_process({"HOME": "/"}, environ(tmp_path, **variables)) == {"HOME": "/"}


def test_a_first_process_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    assert with_first_process({"HOME": "/"}, tmp_path / "none") == {"HOME": "/"}
