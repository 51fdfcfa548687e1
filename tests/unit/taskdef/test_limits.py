"""What ECS counts over a whole task is refused before it is registered."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.taskdef.container import NAME
from sidecar.taskdef.limits import task_size
from tests.unit.taskdef.support import (
    BRIDGE_APP,
    EC2_APP,
    FARGATE_APP,
    container,
    merged,
    refused,
    with_containers,
    with_sidecar,
)


def sized(given: dict[str, Any], of_app: dict[str, Any], **of_task: str) -> dict[str, Any]:
    """Return a definition with other sizes of the task and of its container `app`."""
    app = {key: value for key, value in container(given, "app").items() if not key.startswith("memory")}
    return {**given, **of_task, "containerDefinitions": [app | of_app]}


def test_ten_containers_fit_and_eleven_do_not() -> None:
    others = [{"name": f"worker-{number}", "image": "w"} for number in range(9)]
    assert len(merged(with_containers(*others[:8]))["containerDefinitions"]) == 10
    assert f"has 11 containers, '{NAME}' among them; ECS takes 10" in refused(with_containers(*others))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (sized(FARGATE_APP, {"memory": 513}), "app.memory: is 513 MiB, more than the 512 MiB of the whole task"),
        (with_sidecar(memory=600), f"{NAME}.memory: is 600 MiB"),
        (sized(EC2_APP, {"memory": 1025}, memory="1 GB"), "app.memory: is 1025 MiB, more than the 1024 MiB"),
        (
            with_containers({"name": "b", "image": "b", "memoryReservation": 300},
                            {"name": "c", "image": "c", "memoryReservation": 213}),
            "its containers reserve 513 by memoryReservation: 300 (b) + 213 (c). Raise it",
        ),
        (sized(FARGATE_APP, {"cpu": 300}), "cpu: is 256 CPU units for the whole task, and its containers reserve 300"),
    ],
)  # fmt: skip
def test_more_than_the_task_has_is_refused(given: dict[str, Any], words: str) -> None:
    assert words in refused(given)


@pytest.mark.parametrize(
    "given",
    [
        sized(FARGATE_APP, {"memory": 512, "memoryReservation": 511, "cpu": 256}),
        sized(EC2_APP, {"memory": 4096, "cpu": 4096}, memory="4GB", cpu="1 vCPU"),
        sized(EC2_APP, {"memory": 4096}, memory="${MEMORY}"),
        with_containers({"name": "b", "image": "b", "memory": 512}, {"name": "c", "image": "c", "memory": 512}),
    ],
)
def test_what_fits_is_not_refused(given: dict[str, Any]) -> None:
    """Hard limits may add up to more than the task has: only reservations are added."""
    assert merged(given)


@pytest.mark.parametrize(
    "given",
    [
        sized(EC2_APP, {"memory": 128, "memoryReservation": 129}),
        sized(EC2_APP, {"memory": 128, "memoryReservation": 129}, memory="512"),
        sized(EC2_APP, {"memory": 128, "memoryReservation": 129}, memory="${MEMORY}"),
        sized(FARGATE_APP, {"memory": 128, "memoryReservation": 129}),
    ],
)
def test_a_container_that_reserves_more_than_its_memory_is_refused(given: dict[str, Any]) -> None:
    assert "app.memoryReservation: is 129 MiB, more than its memory of 128 MiB. Lower it" in refused(given)
    fits = sized(given, {"memory": 128, "memoryReservation": 128})
    assert merged(fits)


def test_the_sidecars_own_reservation_is_compared_with_its_memory() -> None:
    words = f"{NAME}.memoryReservation: is 64 MiB, more than its memory of 32 MiB"
    assert words in refused(with_sidecar(EC2_APP, memory=32, memoryReservation=64))


@pytest.mark.parametrize("sizes", [{}, {"memory": 0}, {"memory": 0, "memoryReservation": 0}])
def test_a_container_without_any_memory_on_ec2_is_refused(sizes: dict[str, int]) -> None:
    for given in (EC2_APP, BRIDGE_APP, {**EC2_APP, "requiresCompatibilities": ["MANAGED_INSTANCES"]}):
        words = refused(sized(given, sizes))
        assert "app.memory: is missing, as are its memoryReservation and the task's memory; ECS wants one" in words
        assert NAME not in words


@pytest.mark.parametrize(
    "given",
    [
        sized(EC2_APP, {"memory": 128}),
        sized(EC2_APP, {"memoryReservation": 128}),
        sized(EC2_APP, {"memory": 0, "memoryReservation": 128}),
        sized(EC2_APP, {}, memory="512"),
        sized(EC2_APP, {}, memory="${MEMORY}"),
        sized(FARGATE_APP, {}),
    ],
)
def test_one_of_the_three_sizes_is_enough(given: dict[str, Any]) -> None:
    assert merged(given)


def test_on_fargate_the_tasks_missing_memory_is_one_problem() -> None:
    given = {key: value for key, value in FARGATE_APP.items() if key != "memory"}
    words = refused(given)
    assert "memory: is missing; Fargate wants it for the whole task" in words
    assert "app.memory" not in words


@pytest.mark.parametrize("memory", ["512", "0.5 GB"])
def test_a_task_with_memory_of_its_own_gets_none_for_the_sidecar(memory: str) -> None:
    """All of it may be the product's already: what we added would be refused by ECS."""
    made = merged(sized(EC2_APP, {"memory": 512, "memoryReservation": 512}, memory=memory))
    assert not {"memory", "memoryReservation"} & container(made).keys()


def test_one_of_the_sellers_sizes_for_the_sidecar_is_not_completed() -> None:
    """ECS wants `memory` to be more than `memoryReservation`."""
    for own in ({"memory": 48}, {"memoryReservation": 300}):
        made = merged(with_sidecar(EC2_APP, **({"memory": None, "memoryReservation": None} | own)))
        assert {key: value for key, value in container(made).items() if key.startswith("memory")} == own


@pytest.mark.parametrize(
    ("name", "text", "size"),
    [
        ("memory", "1GB", 1024), ("memory", " 0.5 gb ", 512), ("memory", ".5GB", 512), ("memory", 512, 512),
        ("cpu", "1 vcpu", 1024), ("cpu", ".25 vCPU", 256), ("cpu", "256", 256),
        ("memory", "", None), ("memory", "1 vCPU", None), ("memory", "lots", None), ("memory", "-1", None),
        ("memory", "1e9", None), ("memory", "9" * 5_000, None), ("cpu", [], None),
    ],
)  # fmt: skip
def test_sizes_are_read_as_ecs_reads_them(name: str, text: object, size: int | None) -> None:
    assert task_size({name: text}, name) == size
