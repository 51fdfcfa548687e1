"""Make the files under `ecs/` with `ecs render` from a minimal product; the tests compare them.

python -m tests.ecs.templates --write
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sidecar.taskdef.container import EC2, FARGATE, NAME, USER
from sidecar.taskdef.render import RenderOptions, as_text, render

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "ecs"
SIDECAR_IMAGE = "<SIDECAR_IMAGE>"
FILLED = {
    "<PRODUCT_IMAGE>": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/product:1.0.0",
    "<SIDECAR_IMAGE>": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/product-entitlement:1.0.0",
    "<TASK_ROLE_ARN>": "arn:aws:iam::123456789012:role/product-task",
    "<EXECUTION_ROLE_ARN>": "arn:aws:iam::123456789012:role/product-execution",
    "<LOG_GROUP>": "/ecs/product",
    "<REGION>": "eu-central-1",
    "<PRODUCT_URL>": "http://product.internal:8484",
    "<SAAS_IMAGE>": "123456789012.dkr.ecr.us-east-1.amazonaws.com/metering:1.0.0",
    "<PRODUCT_CODE>": "8f7k2m1q9w3e5r7t0y2u4i6o8",
    "<DIMENSIONS>": "requests",
    "<DATABASE_URL_SECRET_ARN>": "arn:aws:secretsmanager:us-east-1:123456789012:secret:metering-database-a1b2c3",
}
"""Every placeholder, with something to put there."""


def product(launch_type: str, mode: str, family: str = "product") -> dict[str, Any]:
    """Return a seller's definition without the sidecar: one container, and where it logs."""
    app: dict[str, Any] = {"name": "app", "image": "<PRODUCT_IMAGE>", "essential": True}
    if launch_type == EC2:
        app |= {"memory": 512, "memoryReservation": 128}
    app["stopTimeout"] = 30
    app["logConfiguration"] = {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": "<LOG_GROUP>",
            "awslogs-region": "<REGION>",
            "awslogs-stream-prefix": family,
            "mode": "non-blocking",
            "max-buffer-size": "4m",
        },
    }
    whole: dict[str, Any] = {
        "family": family,
        "taskRoleArn": "<TASK_ROLE_ARN>",
        "executionRoleArn": "<EXECUTION_ROLE_ARN>",
        "networkMode": mode,
        "requiresCompatibilities": [launch_type],
    }
    if launch_type == FARGATE:
        whole |= {"cpu": "256", "memory": "512"}
        whole["runtimePlatform"] = {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"}
    return whole | {"containerDefinitions": [app]}


def gated(launch_type: str, mode: str) -> dict[str, Any]:
    return render(product(launch_type, mode), RenderOptions(gate=["app"], image=SIDECAR_IMAGE))[0]


def gate_only() -> dict[str, Any]:
    """Return a task that is not metered: its worker starts once the sidecar of the product's task is entitled."""
    whole = product(FARGATE, "awsvpc", "product-worker")
    del whole["taskRoleArn"]
    worker = whole["containerDefinitions"][0]
    gate = {
        "name": "entitlement-gate",
        "image": SIDECAR_IMAGE,
        "essential": False,
        "command": ["wait", "--url", "<PRODUCT_URL>"],
        "user": USER,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "logConfiguration": worker["logConfiguration"],
    }
    worker["dependsOn"] = [{"containerName": gate["name"], "condition": "SUCCESS"}]
    whole["containerDefinitions"].insert(0, gate)
    return whole


def saas() -> dict[str, Any]:
    """Return a SaaS product's task, with the service that meters it on the task's own localhost.

    State is in PostgreSQL: a task has no volume that outlives it and on which SQLite is safe.
    """
    whole = product(FARGATE, "awsvpc", "saas-product")
    app = whole["containerDefinitions"][0]
    service = {
        "name": "saas",
        "image": "<SAAS_IMAGE>",
        "essential": True,
        "command": ["saas"],
        "environment": [
            {"name": "SIDECAR_PRODUCT_CODE", "value": "<PRODUCT_CODE>"},
            {"name": "SIDECAR_DIMENSIONS", "value": "<DIMENSIONS>"},
            {"name": "SIDECAR_FLUSH_SECONDS", "value": "50"},
        ],
        "secrets": [{"name": "SIDECAR_DATABASE_URL", "valueFrom": "<DATABASE_URL_SECRET_ARN>"}],
        "stopTimeout": 60,
        "user": USER,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "mountPoints": [
            {"sourceVolume": "state", "containerPath": "/var/lib/entitlement-sidecar", "readOnly": False},
            {"sourceVolume": "tmp", "containerPath": "/tmp", "readOnly": False},
        ],
        "logConfiguration": app["logConfiguration"],
    }
    app["dependsOn"] = [{"containerName": "saas", "condition": "START"}]
    whole["containerDefinitions"].insert(0, service)
    return whole | {"volumes": [{"name": "state", "host": {}}, {"name": "tmp", "host": {}}]}


def sidecar_alone() -> dict[str, Any]:
    """Return the container that the Terraform module builds on."""
    found: dict[str, Any] = gated(FARGATE, "awsvpc")["containerDefinitions"][0]
    assert found["name"] == NAME
    del found["logConfiguration"]
    return found


def made() -> dict[str, str]:
    """Return path under `ecs/` → text, for every file that is made here."""
    return {
        "fargate.json": as_text(gated(FARGATE, "awsvpc")),
        "ec2.json": as_text(gated(EC2, "awsvpc")),
        "ec2-bridge.json": as_text(gated(EC2, "bridge")),
        "ec2-host.json": as_text(gated(EC2, "host")),
        "gate-only.json": as_text(gate_only()),
        "saas.json": as_text(saas()),
        "terraform/sidecar.json": as_text(sidecar_alone()),
    }


def filled(text: str) -> dict[str, Any]:
    """Return a template with its placeholders filled in."""
    for name, value in FILLED.items():
        text = text.replace(name, value)
    found: dict[str, Any] = json.loads(text)
    return found


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    for name, text in made().items():
        (DIRECTORY / name).write_text(text)
