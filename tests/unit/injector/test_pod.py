"""A pod gets the sidecar, or a refusal that names both sides and the fix."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import SettingsError
from sidecar.injector import pieces
from sidecar.injector.pod import has_sidecar, injected
from sidecar.injector.refusal import Refusal

SIDECAR = {
    "name": "entitlement-sidecar",
    "image": "gate:1",
    "env": [{"name": "SIDECAR_GRACE_SECONDS", "value": "1015"}],
    "volumeMounts": [{"name": "state", "mountPath": "/x", "subPath": "W.W"}],
}
DOCUMENT: dict[str, Any] = {
    "workload": "W.W",
    "appGraceSeconds": 1000,
    "terminationGracePeriodSeconds": 1015,
    "podLabels": {"entitlement-sidecar.io/part-of": "rel-gate", "entitlement-sidecar.io/workload": "W.W"},
    "podAnnotations": {"config.linkerd.io/skip-outbound-ports": "443"},
    "initContainer": [SIDECAR],
    "volumes": [{"name": "state", "emptyDir": {}}],
}
POD: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "api", "image": "shop:1"}]}}


def document(directory: Path, **fields: object) -> pieces.Document:
    path = directory / "pieces.json"
    path.write_text(json.dumps({**DOCUMENT, **fields}))
    return pieces.read(path)


def test_workload_and_grace_are_the_pods_own(tmp_path: Path) -> None:
    made = injected(
        {**POD, "spec": {**POD["spec"], "terminationGracePeriodSeconds": 60}}, document(tmp_path), (), "shop"
    )
    (ours,) = made["spec"]["initContainers"]
    assert ours["env"] == [{"name": "SIDECAR_GRACE_SECONDS", "value": "75"}]
    assert ours["volumeMounts"][0]["subPath"] == "shop"
    assert made["spec"]["terminationGracePeriodSeconds"] == 75
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == "shop"


def test_the_pod_that_was_handed_in_stays_as_it_was(tmp_path: Path) -> None:
    before = copy.deepcopy(POD)
    injected(POD, document(tmp_path), (), "")
    assert before == POD


def test_a_pod_that_was_injected_is_known_whatever_others_added(tmp_path: Path) -> None:
    made = injected(POD, document(tmp_path), (), "")
    made["spec"]["initContainers"][0]["env"].append({"name": "AWS_ROLE_ARN", "value": "x"})
    made["spec"]["initContainers"][0]["image"] = "mirror.example/gate:1"
    assert has_sidecar(made, document(tmp_path))


def test_a_pod_with_the_label_alone_was_not_injected(tmp_path: Path) -> None:
    made = injected(POD, document(tmp_path), (), "")
    del made["spec"]["initContainers"]
    assert not has_sidecar(made, document(tmp_path))


def test_a_pod_with_the_container_of_another_is_refused_and_not_taken_for_ours(tmp_path: Path) -> None:
    made = injected(POD, document(tmp_path), (), "")
    made["metadata"]["labels"] = {}
    assert not has_sidecar(made, document(tmp_path))
    with pytest.raises(Refusal, match="'entitlement-sidecar' among its initContainers, and so has the sidecar"):
        injected(made, document(tmp_path), (), "")


def test_a_pod_that_has_the_sidecar_by_its_own_chart_needs_no_annotation(tmp_path: Path) -> None:
    made = injected(POD, document(tmp_path), (), "")
    made["metadata"]["labels"]["entitlement-sidecar.io/part-of"] = "shop-gate"
    with pytest.raises(Refusal, match=r"sidecar already, that of 'shop-gate'\. Remove the annotation .*/inject"):
        injected(made, document(tmp_path), (), "")


@pytest.mark.parametrize(("name", "label"), [("a" * 63, "a" * 63), ("a" * 62 + ".b", "a" * 62), ("a" * 70, "a" * 63)])
def test_a_long_workload_is_cut_to_what_a_label_takes(name: str, label: str, tmp_path: Path) -> None:
    made = injected(POD, document(tmp_path), (), name)
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == label
    assert made["spec"]["initContainers"][0]["volumeMounts"][0]["subPath"] == name


def test_an_unknown_container_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"has 'apy', which the pod has not\. It has api"):
        injected(POD, document(tmp_path), ("apy",), "")


def test_a_volume_that_only_the_pod_can_bring_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"mounts volume 'state', which the pod has not. .*existingVolume"):
        injected(POD, document(tmp_path, volumes=[]), (), "")


def test_a_clash_names_both_values(tmp_path: Path) -> None:
    given = {**POD, "metadata": {"labels": {"entitlement-sidecar.io/part-of": "other"}}}
    with pytest.raises(Refusal, match=r"'other', and the sidecar needs 'rel-gate'\. Remove it"):
        injected(given, document(tmp_path), (), "")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"initContainer": []}, "has no container"),
        ({"workload": ""}, "has no text workload"),
        ({"appGraceSeconds": "30"}, "has no number appGraceSeconds"),
        ({"volumes": {}}, "something else than a list"),
    ],
)
def test_a_document_that_gates_nothing_is_refused(fields: dict[str, object], fault: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=fault):
        document(tmp_path, **fields)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pieces.json"
    with pytest.raises(SettingsError, match="cannot be read"):
        pieces.read(path)
    path.write_text(text)
    with pytest.raises(SettingsError, match="is not"):
        pieces.read(path)
