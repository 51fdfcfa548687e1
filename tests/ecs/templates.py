"""The files under `ecs/` that `ecs render` makes of a minimal product: made here, compared with it by the tests.

python -m tests.ecs.templates --write
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sidecar.taskdef.container import EC2, FARGATE, NAME, gate_only_container
from sidecar.taskdef.render import Wish, as_text, render

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
}
"""Every placeholder, with something to put there."""


def product(launch_type: str, mode: str, family: str = "product") -> dict[str, Any]:
    """What a seller has before: one container, and where it logs."""
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
    return render(product(launch_type, mode), Wish(gate=["app"], image=SIDECAR_IMAGE))[0]


def gate_only() -> dict[str, Any]:
    """Another task of the product: its worker starts once the product's own sidecar is entitled."""
    whole = product(FARGATE, "awsvpc", "product-worker")
    del whole["taskRoleArn"]
    worker = whole["containerDefinitions"][0]
    gate = gate_only_container(SIDECAR_IMAGE, "<PRODUCT_URL>")
    gate["logConfiguration"] = worker["logConfiguration"]
    worker["dependsOn"] = [{"containerName": gate["name"], "condition": "SUCCESS"}]
    whole["containerDefinitions"].insert(0, gate)
    return whole


def sidecar_alone() -> dict[str, Any]:
    """What the Terraform module starts from."""
    found: dict[str, Any] = gated(FARGATE, "awsvpc")["containerDefinitions"][0]
    assert found["name"] == NAME
    del found["logConfiguration"]
    return found


def made() -> dict[str, str]:
    """Path under `ecs/` → text."""
    return {
        "fargate.json": as_text(gated(FARGATE, "awsvpc")),
        "ec2.json": as_text(gated(EC2, "awsvpc")),
        "ec2-bridge.json": as_text(gated(EC2, "bridge")),
        "gate-only.json": as_text(gate_only()),
        "terraform/sidecar.json": as_text(sidecar_alone()),
    }


def filled(text: str) -> dict[str, Any]:
    """A template with its placeholders filled in, as a customer would."""
    for name, value in FILLED.items():
        text = text.replace(name, value)
    found: dict[str, Any] = json.loads(text)
    return found


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    for name, text in made().items():
        (DIRECTORY / name).write_text(text)
