"""Which pod are we? What the downward API and the projected tokens say."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.platform import eks, identity

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


def test_the_container_is_known_where_the_chart_gives_it_another_name() -> None:
    pod = eks.read_pod(FULL | {"CONTAINER_NAME": " entitlement-sidecar-search"})
    workload = identity.identify_workload(pod, None, None, lambda: "")
    assert workload.labels["container"] == "entitlement-sidecar-search"
    assert "container" not in identity.identify_workload(eks.read_pod(FULL), None, None, lambda: "").labels


@pytest.mark.parametrize("name", ["build-7", "entitlement-sidecars", ""])
def test_a_name_that_other_software_gives_the_container_is_not_ours(name: str) -> None:
    pod = eks.read_pod(FULL | {"CONTAINER_NAME": name})
    assert pod
    assert not pod.container


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


# -- the projected token


def token(claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{part}.c2lnbmF0dXJl"


def of_pod(uid: object) -> str:
    claims = {"kubernetes.io": {"namespace": "default", "pod": {"name": "shop-1", "uid": uid}}, "sub": "x"}
    return token(claims)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(of_pod("6f1c"))
    return path


def test_the_token_confirms_the_uid_of_the_downward_api(mounted: Path) -> None:
    assert eks.bound_pod(FULL, [mounted]) == eks.read_pod(FULL)


@pytest.mark.parametrize("by", ["mount", "variable"])
def test_a_uid_of_another_pod_is_an_error_that_names_both(by: str, mounted: Path) -> None:
    variable = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(mounted)} if by == "variable" else {}
    with pytest.raises(SettingsError) as caught:
        eks.bound_pod(FULL | {"POD_UID": "theirs"} | variable, [mounted] if by == "mount" else [])
    said = str(caught.value)
    assert "POD_UID" in said
    assert "'theirs'" in said
    assert "'6f1c'" in said
    assert mounted.read_text() not in said


def test_without_a_uid_the_token_names_the_pod_and_no_setting_another(mounted: Path) -> None:
    """Left out, POD_UID no longer lets SIDECAR_WORKLOAD_ID take another pod's answer."""
    pod = eks.bound_pod({}, [mounted])
    assert pod
    assert pod.uid == "6f1c"
    with pytest.raises(SettingsError, match="SIDECAR_WORKLOAD_ID"):
        identity.identify_workload(pod, None, "theirs", lambda: "spare")
    assert identity.identify_workload(pod, None, None, lambda: "spare").id == "6f1c"


def test_tokens_of_two_pods_contradict_one_another(mounted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(of_pod("theirs"))
    with pytest.raises(SettingsError):
        eks.bound_pod({}, [mounted, other])


NONE = {
    "no token": "hunter2",
    "empty": "",
    "no pod, as in a token of a secret": token({"kubernetes.io/serviceaccount/namespace": "default"}),
    "bound to nothing": token({"kubernetes.io": {"namespace": "default"}}),
    "a uid that is no text": of_pod(7),
    "a blank uid": of_pod(" "),
    "no object": token([1]),
    "no JSON": "a.bm9uZQ.c",
    "nested too deep": "a." + base64.urlsafe_b64encode(b"[" * 9000).decode() + ".c",
}


@pytest.mark.parametrize("kind", NONE)
def test_a_token_that_names_no_pod_decides_nothing(kind: str, mounted: Path) -> None:
    mounted.write_text(NONE[kind])
    assert eks.bound_pod(FULL, [mounted]) == eks.read_pod(FULL)
    assert eks.bound_pod({}, [mounted]) is None


def test_what_is_no_readable_file_decides_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere", tmp_path / "pipe" / "token"):
        assert eks.bound_pod(FULL, [path]) == eks.read_pod(FULL)
