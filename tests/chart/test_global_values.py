"""Values that a customer sets once for all charts reach the sidecar too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart.support import NAME, container, in_parent, of_kind, pod_of, refusal, render

OWN = {"registry": "seller.example.com", "repository": "acme/gate", "tag": "1"}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("parent"))


def rendered(parent: Path, shared: object, **own: object) -> dict[str, Any]:
    return pod_of(of_kind(render(parent, {"global": shared, NAME: {"image": OWN, **own}}), "Deployment"))


def test_a_mirror_takes_precedence_over_the_sellers_registry(parent: Path) -> None:
    pod = rendered(parent, {"imageRegistry": "mirror.example.com/"})
    assert container(pod, NAME)["image"] == "mirror.example.com/acme/gate:1"


@pytest.mark.parametrize("shared", [{}, {"imageRegistry": ""}, {"imageRegistry": None}, {"other": 1}])
def test_without_a_mirror_the_sellers_registry_stays(shared: dict[str, object], parent: Path) -> None:
    assert container(rendered(parent, shared), NAME)["image"] == "seller.example.com/acme/gate:1"


@pytest.mark.parametrize("secret", ["one", {"name": "one"}], ids=["name", "object"])
def test_pull_secrets_of_all_charts_are_added_to_ours(secret: object, parent: Path) -> None:
    pod = rendered(parent, {"imagePullSecrets": [secret]}, imagePullSecrets=["two", "one"])
    assert pod["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_a_pod_without_the_helper_of_pull_secrets_is_refused(tmp_path: Path) -> None:
    parent = in_parent(tmp_path)
    template = parent / "templates" / "_pod.tpl"
    lines = [line for line in template.read_text().splitlines() if "entitlement-sidecar.imagePullSecrets" not in line]
    template.write_text("\n".join(lines))
    assert "imagePullSecrets" in refusal(parent, {"global": {"imagePullSecrets": ["one"]}})


def test_a_pull_secret_without_a_name_is_refused(parent: Path) -> None:
    assert "imagePullSecrets" in refusal(parent, {"global": {"imagePullSecrets": [{"nam": "one"}]}})
