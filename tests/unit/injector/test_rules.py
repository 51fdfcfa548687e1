"""Pods in which the sidecar cannot work are refused with the reason; those next to them are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.injector import rules
from sidecar.injector.refusal import Refusal
from tests.unit.injector.test_pod import SIDECAR, document

OURS = {**SIDECAR, "ports": [{"name": "entitlement", "containerPort": 8484}, {"containerPort": 8485}]}


def listens(port: int, **more: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "api", "ports": [{"containerPort": port, **more}]}]}}


CANNOT: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, {}, "static pod"),
    ({"spec": {"os": {"name": "windows"}}}, {}, "os.name says 'windows'"),
    ({"spec": {"nodeSelector": {"kubernetes.io/os": "windows"}}}, {}, "nodeSelector says 'windows'"),
    (listens(8484), {}, "'api' has port 8484, .* change entitlement.probePort"),
    (listens(8485, protocol="TCP"), {}, "'api' has port 8485, and so has the sidecar"),
    ({"spec": {"securityContext": {"runAsUser": 0}}}, {}, "runAsUser 0"),
    (
        {"spec": {"restartPolicy": "Never"}},
        {"initContainer": [], "classicContainer": [OURS]},
        "restartPolicy is 'Never'",
    ),
]
CAN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"metadata": {"annotations": {"kubernetes.io/config.source": "api"}}}, {}),
    ({"spec": {"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux"}}}, {}),
    (listens(8484, protocol="UDP"), {}),
    (listens(8486), {}),
    (listens(8484), {"initContainer": [SIDECAR]}),
    ({"spec": {"securityContext": {"runAsUser": 1000}}}, {}),
    (
        {"spec": {"securityContext": {"runAsUser": 0}}},
        {"initContainer": [{**OURS, "securityContext": {"runAsUser": 1}}]},
    ),
    ({"spec": {"restartPolicy": "Never"}}, {}),
    ({"spec": {"restartPolicy": "Always"}}, {"initContainer": [], "classicContainer": [OURS]}),
    ({}, {}),
]


@pytest.mark.parametrize(("pod", "pieces", "words"), CANNOT, ids=[words for _, _, words in CANNOT])
def test_a_pod_that_cannot_work_is_refused(
    pod: dict[str, Any], pieces: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=words):
        rules.check(pod, document(tmp_path, **{"initContainer": [OURS], **pieces}))


@pytest.mark.parametrize(("pod", "pieces"), CAN, ids=map(str, range(len(CAN))))
def test_a_pod_that_can_work_is_not_refused(pod: dict[str, Any], pieces: dict[str, Any], tmp_path: Path) -> None:
    rules.check(pod, document(tmp_path, **{"initContainer": [OURS], **pieces}))
