"""The API server is asked which rights the account has, over HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.pod_status.rights import NEEDED, Right, missing_rights
from sidecar.pod_status.writer import ApiServerError
from tests.integration.pod_status.cluster_api import ClusterApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ClusterApi]:
    with ClusterApi(tmp_path) as server:
        yield server


def test_an_account_with_every_right_misses_none_and_nothing_is_written(api: ClusterApi) -> None:
    assert missing_rights(api.access()) == ()
    assert {path for _, path, _ in api.asked} == {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}
    assert len(api.conditions) == 1
    assert not api.events


@pytest.mark.parametrize("right", NEEDED, ids=str)
def test_each_right_that_is_missing_is_named(api: ClusterApi, right: Right) -> None:
    api.denied.add(str(right))
    assert missing_rights(api.access()) == (right,)


def test_the_right_on_the_pod_is_asked_for_this_pod_alone(api: ClusterApi) -> None:
    missing_rights(api.access())
    asked = [body["spec"]["resourceAttributes"] for _, _, body in api.asked]
    assert asked[0] == {
        "namespace": "shop",
        "verb": "patch",
        "group": "",
        "resource": "pods",
        "subresource": "status",
        "name": "product-1",
    }
    assert "name" not in asked[1]


def test_a_server_that_refuses_to_be_asked_is_an_error_with_its_code(api: ClusterApi) -> None:
    api.fault = lambda _method, _path: (403, None)
    with pytest.raises(ApiServerError, match="403 Forbidden to create"):
        missing_rights(api.access())


def test_an_answer_that_says_nothing_is_no_right(api: ClusterApi) -> None:
    api.fault = lambda _method, _path: (201, {"kind": "SelfSubjectAccessReview"})
    with pytest.raises(OSError, match="not the Kubernetes API"):
        missing_rights(api.access())
