"""A definition that would break gate or metering is refused with value, rule and fix."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.taskdef.container import NAME, VOLUME
from tests.unit.taskdef.support import (
    BRIDGE_APP,
    EC2_APP,
    FARGATE_APP,
    bound,
    container,
    merged,
    refused,
    variables,
    with_containers,
    with_health_check,
    with_sidecar,
    with_state_on,
)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (with_sidecar(essential=False), "without its gate"),
        (with_sidecar(portMappings=[{"containerPort": 8484}]), "portMappings"),
        (with_sidecar(healthCheck={"command": ["CMD-SHELL", "true"]}), "healthcheck"),
        (with_sidecar(environment=[{"name": "AWS_REGION", "value": "x"}]), "'AWS_REGION'"),
        (with_sidecar(secrets=[{"name": "AWS_ACCESS_KEY_ID", "valueFrom": "x"}]), "task role alone"),
        (with_sidecar(restartPolicy={"enabled": True}), "Add 77"),
        (with_sidecar(dependsOn=[{"containerName": "app", "condition": "START"}]), "cycle"),
        (with_sidecar(stopTimeout=300), "stopTimeout: is 300; Fargate takes 2 to 120"),
        (with_sidecar(startTimeout=1800), "startTimeout: is 1800; Fargate takes 2 to 120"),
        (with_sidecar(stopTimeout=30), "SIDECAR_FLUSH_SECONDS '50', and stopTimeout is 30"),
        (with_sidecar(stopTimeout=90), "SIDECAR_GRACE_SECONDS '60', and stopTimeout is 90"),
        ({**FARGATE_APP, "volumes": [{"name": VOLUME, "efsVolumeConfiguration": {}}]}, "network file system"),
        (with_state_on({"name": "shared", "efsVolumeConfiguration": {}}), "volumes.shared: has efsVolumeConfiguration"),
        (with_state_on({"name": "own", "host": {}}, readOnly=True), "readOnly true: the ledger is written there"),
        (with_state_on({"name": "own", "host": {}}, sourceVolume="gone"), "on 'gone', and volumes does not name it"),
        (with_sidecar(command=["wait"]), "command: is ['wait']; the gate is kept by `run` alone"),
        (with_sidecar(EC2_APP, privileged=True), "privileged: is true"),
        (with_sidecar(user="0"), "user: is '0'"),
        (with_sidecar(user="root:root"), "user: is 'root:root'"),
        (with_sidecar(user="00:1000"), "does not run as root"),
        (with_sidecar(healthCheck={"command": ["CMD", "true", "healthcheck"]}), "is ['CMD', 'true'"),
        (with_sidecar(healthCheck={}), "healthCheck.command: is []"),
        (with_health_check(interval=4), "interval: is 4; ECS takes 5 to 300"),
        (with_health_check(interval=301), "interval: is 301; ECS takes 5 to 300"),
        (with_health_check(timeout=61), "timeout: is 61; ECS takes 2 to 60"),
        (with_health_check(retries=0), "retries: is 0; ECS takes 1 to 10"),
        (with_health_check(startPeriod=301), "startPeriod: is 301; ECS takes 0 to 300"),
        (with_sidecar(restartPolicy={"enabled": False, "restartAttemptPeriod": 59}), "is 59; ECS takes 60 to 1800"),
        (bound("127.0.0.1:8485"), "SIDECAR_API_BIND '127.0.0.1:8485', and networkMode is 'bridge'"),
        (bound("localhost:1,[::1]:1"), "networkMode is 'bridge'"),
        (bound("8485"), "SIDECAR_API_BIND '8485': '8485' is not HOST:PORT"),
    ],
)  # fmt: skip
def test_what_would_break_gate_or_metering_is_refused(given: dict[str, Any], words: str) -> None:
    assert words in refused(given)


def test_a_cycle_of_dependencies_is_refused_and_a_chain_is_not() -> None:
    envoy = {"name": "envoy", "image": "e", "dependsOn": [{"containerName": "app", "condition": "START"}]}
    given = with_containers(envoy, container(merged(FARGATE_APP)))
    waits = {"dependsOn": [{"containerName": "envoy", "condition": "HEALTHY"}]}
    container(given).update(waits)
    assert f"'app' → '{NAME}' → 'envoy' → 'app'" in refused(given)
    chain = with_containers({"name": "envoy", "image": "e"}, container(merged(FARGATE_APP)) | waits)
    assert container(merged(chain))["dependsOn"] == waits["dependsOn"]


def test_a_link_counts_as_a_dependency() -> None:
    assert "forms a cycle" in refused(with_sidecar(BRIDGE_APP, links=["app"]))


def test_a_long_stop_timeout_is_allowed_on_ec2() -> None:
    made = merged(with_sidecar(EC2_APP, stopTimeout=300, environment=None))
    assert variables(made)["SIDECAR_FLUSH_SECONDS"] == "290"
