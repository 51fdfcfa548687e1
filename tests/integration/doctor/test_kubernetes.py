"""Rights in a cluster, asked of a real server over HTTPS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.doctor.finding import Status
from tests.integration.pod_status.cluster_api import TOKEN, UID, ClusterApi
from tests.ports import free_port

from .support import Container, text


@pytest.fixture
def api(container: Container) -> Iterator[ClusterApi]:
    with ClusterApi(container.directory) as server:
        container.api_mount = server.mount
        container.set(
            POD_UID=UID,
            POD_NAME="product-1",
            KUBERNETES_SERVICE_HOST="127.0.0.1",
            KUBERNETES_SERVICE_PORT=str(server.port),
        )
        yield server


def test_without_a_token_of_our_own_the_cluster_is_not_asked(container: Container) -> None:
    found = container.check("kubernetes")
    assert found.status is Status.SKIP
    assert str(container.api_mount) in found.seen


def test_an_account_with_every_right_passes(container: Container, api: ClusterApi) -> None:
    found = container.check("kubernetes")
    assert found.status is Status.PASS
    assert "pod shop/product-1, account product" in found.seen
    assert TOKEN not in text(found)


def test_a_right_that_is_missing_fails_with_the_commands_that_grant_it(container: Container, api: ClusterApi) -> None:
    api.denied.add("create events")
    found = container.check("kubernetes")
    assert found.status is Status.FAIL
    assert "may not create events" in found.seen
    assert "--serviceaccount=shop:product" in found.fix


def test_variables_that_are_missing_fail_by_name(container: Container, api: ClusterApi) -> None:
    found = container.set(POD_NAME=None).check("kubernetes")
    assert found.status is Status.FAIL
    assert "not set: POD_NAME" in found.seen
    assert api.asked == []


@pytest.mark.parametrize(("code", "fix"), [(401, "serviceAccountToken"), (403, "audit log"), (500, "audit log")])
def test_a_server_that_refuses_to_be_asked_fails(container: Container, api: ClusterApi, code: int, fix: str) -> None:
    api.fault = lambda _method, _path: (code, None)
    found = container.check("kubernetes")
    assert found.status is Status.FAIL
    assert f"answers {code}" in found.seen
    assert fix in found.fix


def test_a_server_that_does_not_answer_fails(container: Container, api: ClusterApi) -> None:
    port = free_port()
    found = container.set(KUBERNETES_SERVICE_PORT=str(port)).check("kubernetes")
    assert found.status is Status.FAIL
    assert f"Allow egress from this pod to 127.0.0.1:{port}" in found.fix


def test_a_server_with_another_certificate_fails(container: Container, api: ClusterApi) -> None:
    (api.mount / "ca.crt").write_text("")
    found = container.check("kubernetes")
    assert found.status is Status.FAIL
    assert "kube-root-ca.crt" in found.fix
