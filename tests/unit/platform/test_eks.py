"""Which pod are we? What the downward API puts into the environment."""

from __future__ import annotations

import pytest

from sidecar.platform import eks

FULL = {
    "POD_UID": "6f1c",
    "POD_NAME": "shop-1",
    "POD_NAMESPACE": "default",
    "SERVICE_ACCOUNT": "shop",
    "NODE_NAME": "ip-10-0-0-7",
}


def test_the_pod_is_what_the_downward_api_says() -> None:
    assert eks.read_pod(FULL) == eks.Pod(
        uid="6f1c", name="shop-1", namespace="default", service_account="shop", node="ip-10-0-0-7"
    )


def test_a_uid_alone_is_a_pod() -> None:
    found = eks.read_pod({"POD_UID": " 6f1c\n"})
    assert found == eks.Pod(uid="6f1c", name="", namespace="", service_account="", node="")


@pytest.mark.parametrize("uid", [{}, {"POD_UID": ""}, {"POD_UID": "  "}])
def test_without_a_uid_there_is_no_pod_however_it_is_called(uid: dict[str, str]) -> None:
    rest = {name: value for name, value in FULL.items() if name != "POD_UID"}
    assert eks.read_pod(rest | uid) is None


def test_a_cluster_is_known_by_its_uid_or_its_api_server() -> None:
    assert eks.in_kubernetes({"POD_UID": "6f1c"})
    assert eks.in_kubernetes({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert not eks.in_kubernetes({"POD_NAME": "shop-1", "KUBERNETES_SERVICE_HOST": ""})
