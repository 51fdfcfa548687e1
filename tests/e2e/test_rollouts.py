"""A rollout loses no usage and bills none twice; one whose customer has left changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e import node
from tests.e2e.cluster import HERE, Namespace, eventually
from tests.e2e.test_snippets import guide_pod, here

PROGRAM = (HERE / "product.py").read_text()
APP = "app=shop"
NAME = "deployment/shop"
STRATEGIES: dict[str, dict[str, Any]] = {
    "RollingUpdate": {"type": "RollingUpdate"},
    "without surge": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    "Recreate": {"type": "Recreate"},
}


def deploy(space: Namespace, strategy: dict[str, Any]) -> str:
    """Put the guide's pod into a Deployment, with a product that pushes on demand; return its pod's name."""
    spec = here(space, guide_pod())["spec"]
    spec["initContainers"][0]["env"].append({"name": "SIDECAR_DIMENSIONS", "value": "requests"})
    spec["containers"][0] |= {"command": [node.PYTHON, "-c", PROGRAM], "args": ["serve", "1"]}
    template = {"metadata": {"labels": {"app": "shop"}}, "spec": spec}
    body = {"selector": {"matchLabels": {"app": "shop"}}, "template": template, "strategy": strategy}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": body}
    space.kubectl("create", "--filename", "-", stdin=json.dumps(manifest))
    rolled_out(space)
    return str(space.pod(APP)["metadata"]["name"])


def rolled_out(space: Namespace) -> None:
    space.kubectl("rollout", "status", NAME, "--timeout=120s", seconds=130)


def push(space: Namespace, pod: str, quantity: int) -> None:
    words = [node.PYTHON, "-c", PROGRAM, "push", str(quantity)]
    assert json.loads(space.kubectl("exec", pod, "--container", "your-product", "--", *words))[0] == 200


def pods_that_run(space: Namespace) -> int:
    """Count the pods on their way out, too."""
    return len(space.get("pods", "--selector", APP)["items"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rollout_bills_each_pod_for_its_own_usage(strategy: str, space: Namespace) -> None:
    space.subscribe()
    first = deploy(space, STRATEGIES[strategy])
    push(space, first, 3)
    space.kubectl("rollout", "restart", NAME)
    rolled_out(space)
    eventually(lambda: pods_that_run(space) == 1, saying="the end of the old pod")
    second = str(space.pod(APP)["metadata"]["name"])
    assert second != first
    push(space, second, 5)
    space.kubectl("delete", NAME, "--wait=true")
    eventually(lambda: pods_that_run(space) == 0, saying="the end of the new pod")
    (line,) = space.marketplace("bill")["lines"]
    billed = {one["workload"]: one["quantity"] for one in line["hours"]}
    assert sorted(billed.values()) == ["4", "6"], "each with the one that its product reports at its end"
    assert line["total"] == "10"


def test_a_rollout_of_a_customer_who_left_stands_still_and_the_old_pod_serves(space: Namespace) -> None:
    space.subscribe()
    first = deploy(space, STRATEGIES["RollingUpdate"])
    space.order("unsubscribe")
    space.kubectl("rollout", "restart", NAME)
    second = eventually(
        lambda: next((one for one in space.pods(APP) if one["metadata"]["name"] != first), None), saying="a new pod"
    )["metadata"]["name"]
    eventually(lambda: "customer_not_entitled" in space.describe(second), saying="the reason in describe")
    push(space, first, 1)
    space.kubectl("rollout", "undo", NAME)
    rolled_out(space)
    assert [one["metadata"]["name"] for one in space.pods(APP)] == [first]
