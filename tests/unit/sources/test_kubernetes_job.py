"""CPUs are those that the scheduler reserves."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from sidecar.sources.kubernetes_job import cpus


def container(cpu: str, **more: str) -> Mapping[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def pod(*containers: object, init: tuple[object, ...] = (), overhead: str = "0") -> Mapping[str, Any]:
    spec = {"containers": containers, "initContainers": init, "overhead": {"cpu": overhead}}
    return {"spec": spec}


SIDECAR = container("100m", restartPolicy="Always")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (pod(container("250m"), container("1")), "1.25"),
        (pod(container("250m"), {}), "0.25"),
        (pod(container("1"), init=(container("3"),)), "3"),
        (pod(container("1"), init=(SIDECAR,)), "1.1"),
        (pod(container("1"), init=(SIDECAR, container("3"))), "3.1"),
        (pod(container("1"), init=(container("3"), SIDECAR)), "3"),
        (pod(container("1"), overhead="250m"), "1.25"),
        ({}, "0"),
    ],
    ids=["two", "none", "init", "sidecar", "sidecar before init", "sidecar behind init", "overhead", "empty"],
)
def test_a_pod_has_the_cpus_that_the_scheduler_reserves(found: Mapping[str, Any], expected: str) -> None:
    assert cpus(found) == Decimal(expected)


@pytest.mark.parametrize(
    ("requests", "expected"),
    [({"cpu": "2"}, "2.25"), ({"memory": "1Gi"}, "1.35"), ({}, "1.35")],
    ids=["cpu", "memory alone", "none"],
)
def test_what_a_pod_requests_as_a_whole_is_what_is_reserved(requests: Mapping[str, str], expected: str) -> None:
    found = pod(container("1"), init=(SIDECAR, container("500m")), overhead="250m")
    assert cpus({"spec": {**found["spec"], "resources": {"requests": requests}}}) == Decimal(expected)
