"""A workload's name is the same for all of its pods, and after each rollout or run."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.injector.owner import workload


def owned(kind: str, name: str, **labels: str) -> dict[str, Any]:
    owner = {"kind": kind, "name": name, "controller": True}
    return {"metadata": {"generateName": f"{name}-", "labels": labels, "ownerReferences": [owner]}}


@pytest.mark.parametrize(
    ("pod", "name"),
    [
        (owned("ReplicaSet", "web-6d4cf56db6", **{"pod-template-hash": "6d4cf56db6"}), "web"),
        (owned("ReplicaSet", "web-6d4cf56db6", **{"pod-template-hash": "another"}), "web-6d4cf56db6"),
        (owned("ReplicaSet", "web-6d4cf56db6", **{"rollouts-pod-template-hash": "6d4cf56db6"}), "web"),
        (owned("ReplicaSet", "web"), "web"),
        (owned("StatefulSet", "shelf-29741520"), "shelf-29741520"),
        (owned("DaemonSet", "agent"), "agent"),
        (owned("Job", "report-29741520"), "report"),
        (owned("Job", "load-20260131"), "load-20260131"),
        (owned("Job", "load-297415200"), "load-297415200"),
        (owned("Job", "29741520"), "29741520"),
        ({"metadata": {"name": "one", "generateName": "x-"}}, "one"),
        ({"metadata": {"generateName": "tried-"}}, "tried"),
        ({"metadata": {"name": "one", "ownerReferences": [{"kind": "Node", "name": "n"}]}}, "one"),
        ({}, ""),
    ],
    ids=str,
)
def test_the_workload_is_named_by_what_owns_the_pod(pod: dict[str, Any], name: str) -> None:
    assert workload(pod) == name
