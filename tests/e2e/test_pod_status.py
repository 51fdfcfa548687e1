"""Condition and events on a real pod, as a real API server takes them.

Needs kubectl, KUBECONFIG and SIDECAR_EMULATOR_IMAGE, which waits; else skipped.

The child runs here, with a token of the pod's service account in a directory that looks like the mount.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.child import process
from sidecar.emulator import Emulator
from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.messages import StatusUpdate, read_results
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult
from sidecar.pod_status.writer import CONDITION
from sidecar.quick_dataclasses import dataclass, replace
from tests.acceptance.support import PRODUCT, Sidecar, eventually
from tests.acceptance.test_pod_status import with_api_mount

pytestmark = pytest.mark.skipif(
    not (os.environ.get("KUBECONFIG") and os.environ.get("SIDECAR_EMULATOR_IMAGE") and shutil.which("kubectl")),
    reason="KUBECONFIG, SIDECAR_EMULATOR_IMAGE and kubectl name the cluster and an image that waits",
)

COMPONENT = "entitlement-sidecar"
POLICY = Path(__file__).parents[2] / "docs" / "examples" / "own-pod-policy.yaml"
IMAGE = os.environ.get("SIDECAR_EMULATOR_IMAGE", "")
SHUT = Condition(status=False, reason="CustomerNotEntitled", message="Subscribe it in AWS Marketplace.")
OPEN = Condition(status=True, reason="Registered", message="")
EVENT = PodEvent(reason="NotEntitled", note="customer_not_entitled: Subscribe it.", warning=True, key="x")


def kubectl(*arguments: str, given: object = None) -> str:
    """Its output. `given`: text, or an object to be written as JSON, on its stdin."""
    done = subprocess.run(
        ["kubectl", *arguments],
        input=given if given is None or isinstance(given, str) else json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Place:
    """A namespace with a pod that has our readiness gate, and a service account without rights."""

    namespace: str
    api: ApiAccess

    def grant(self, *rules: dict[str, list[str]]) -> None:
        kubectl(
            "apply",
            "-f-",
            given={
                "apiVersion": "v1",
                "kind": "List",
                "items": [
                    {
                        "apiVersion": "rbac.authorization.k8s.io/v1",
                        "kind": "Role",
                        "metadata": {"name": "reporter", "namespace": self.namespace},
                        "rules": list(rules),
                    },
                    {
                        "apiVersion": "rbac.authorization.k8s.io/v1",
                        "kind": "RoleBinding",
                        "metadata": {"name": "reporter", "namespace": self.namespace},
                        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reporter"},
                        "subjects": [{"kind": "ServiceAccount", "name": "product", "namespace": self.namespace}],
                    },
                ],
            },
        )

    def tell(self, condition: Condition | None, *events: PodEvent, api: ApiAccess | None = None) -> list[WriteResult]:
        update = StatusUpdate(api=api or self.api, condition=condition, events=events)
        told, failure = read_results(process.spawn(update), update, time.monotonic() + 30)
        assert failure is None
        return told

    def take_token(self, bound_to: str) -> None:
        """A token as the kubelet mounts it, which belongs to one pod."""
        bound = ["--bound-object-kind=Pod", f"--bound-object-name={bound_to}"]
        token = kubectl("create", "token", "product", "-n", self.namespace, *bound).strip()
        (Path(self.api.mount) / "token").write_text(token)

    def pod(self) -> dict[str, Any]:
        found = json.loads(kubectl("get", "pod", "product", "-n", self.namespace, "-o", "json"))
        assert isinstance(found, dict)
        return found

    def conditions(self) -> dict[str, dict[str, str]]:
        return {one["type"]: one for one in self.pod()["status"]["conditions"]}


STATUS = {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]}
EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    namespace = f"reporter-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    try:
        kubectl("create", "serviceaccount", "product", "-n", namespace)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "product", "namespace": namespace},
            "spec": {
                "serviceAccountName": "product",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "readinessGates": [{"conditionType": CONDITION}],
                "containers": [{"name": "waiting", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
            },
        }
        kubectl("apply", "-f-", given=pod)
        kubectl("wait", "--for=condition=ContainersReady", "pod/product", "-n", namespace, "--timeout=60s")
        mount = tmp_path / "mount"
        mount.mkdir()
        cluster = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
        authority = cluster.get("certificate-authority-data")
        text = base64.b64decode(authority) if authority else Path(cluster["certificate-authority"]).read_bytes()
        (mount / "ca.crt").write_bytes(text)
        server = urlsplit(cluster["server"])
        uid = kubectl("get", "pod", "product", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
        access = ApiAccess(
            mount=str(mount),
            host=server.hostname or "",
            port=str(server.port or 443),
            pod="product",
            namespace=namespace,
            uid=uid,
            node="node-1",
            service_account="product",
        )
        found = Place(namespace=namespace, api=access)
        found.take_token("product")
        yield found
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_the_condition_opens_the_readiness_gate_and_events_show_in_describe(place: Place) -> None:
    place.grant(STATUS, EVENTS)
    assert [one.outcome for one in place.tell(SHUT, EVENT)] == [WriteOutcome.DONE] * 2
    shown = place.conditions()
    assert (shown[CONDITION]["status"], shown[CONDITION]["reason"]) == ("False", "CustomerNotEntitled")
    assert shown["Ready"]["status"] == "False"
    assert "ContainersReady" in shown, "other conditions are left alone"
    time.sleep(1.1)  # conditions and events know whole seconds
    assert [one.outcome for one in place.tell(replace(SHUT, reason="Other"), EVENT)] == [WriteOutcome.DONE] * 2
    again = place.conditions()[CONDITION]
    assert again["reason"] == "Other"
    assert again["lastTransitionTime"] == shown[CONDITION]["lastTransitionTime"], "it did not turn"
    version = place.pod()["metadata"]["resourceVersion"]
    assert [one.outcome for one in place.tell(replace(SHUT, reason="Other"))] == [WriteOutcome.DONE]
    assert place.pod()["metadata"]["resourceVersion"] == version, "what is there is not written again"
    opened = PodEvent(reason="Entitled", note="registered: Confirmed.", key="registered")
    assert [one.outcome for one in place.tell(OPEN, opened)] == [WriteOutcome.DONE] * 2
    kubectl("wait", "--for=condition=Ready", "pod/product", "-n", place.namespace, "--timeout=20s")
    assert place.conditions()[CONDITION]["lastTransitionTime"] > shown[CONDITION]["lastTransitionTime"]
    described = kubectl("describe", "pod", "product", "-n", place.namespace)
    lines = [line.split() for line in described.splitlines()]
    assert any(line[:2] == ["Warning", "NotEntitled"] and "(x2" in line and COMPONENT in line for line in lines)
    assert any(line[:2] == ["Normal", "Entitled"] for line in lines)
    assert any(line[:2] == [CONDITION, "True"] for line in lines)


def test_without_rights_each_refusal_names_what_is_missing(place: Place) -> None:
    told = place.tell(SHUT, EVENT)
    assert [(one.outcome, one.code, one.verb, one.resource) for one in told] == [
        (WriteOutcome.REFUSED, 403, "patch", "pods/status"),
        (WriteOutcome.REFUSED, 403, "create", "events"),
    ]
    assert {one.reason for one in told} == {"Forbidden"}
    place.grant(EVENTS | {"verbs": ["create"]})
    eventually = [place.tell(None, EVENT)[0] for _ in range(2)]
    assert eventually[-1].outcome is WriteOutcome.REFUSED
    assert (eventually[-1].verb, eventually[-1].resource) == ("patch", "events")


def test_a_pod_that_took_over_the_name_is_left_alone(place: Place) -> None:
    place.grant(STATUS, EVENTS)
    (told,) = place.tell(SHUT, api=replace(place.api, uid=str(uuid.uuid4())))
    assert (told.outcome, told.code) == (WriteOutcome.REFUSED, 422), "the uid of a pod cannot be patched"
    assert CONDITION not in place.conditions()
    (gone,) = place.tell(SHUT, api=replace(place.api, pod="nobody"))
    assert (gone.outcome, gone.code) == (WriteOutcome.REFUSED, 404)


def test_the_right_can_be_narrowed_to_the_pod_where_its_name_is_known(place: Place) -> None:
    place.grant(STATUS | {"resourceNames": ["another"]}, EVENTS)
    assert place.tell(SHUT)[0].code == 403
    place.grant(STATUS | {"resourceNames": ["product"]}, EVENTS)
    assert place.tell(SHUT)[0].outcome is WriteOutcome.DONE


def test_with_the_policy_of_the_documentation_a_token_reaches_its_own_pod_alone(place: Place) -> None:
    place.grant(STATUS, EVENTS)
    text = POLICY.read_text().replace("SERVICE_ACCOUNT", "product").replace("NAMESPACE", place.namespace)
    policy = text.replace("entitlement-sidecar-own-pod", f"own-pod-{place.namespace}")
    spec = {"containers": [{"name": "waiting", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}]}
    metadata = {"name": "other", "namespace": place.namespace}
    spec |= {"serviceAccountName": "product", "automountServiceAccountToken": False}
    kubectl("apply", "-f-", given={"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    try:
        kubectl("apply", "-f-", given=policy)
        place.take_token("other")
        deadline = time.monotonic() + 30
        while (told := place.tell(SHUT)[0]).outcome is WriteOutcome.DONE:
            assert time.monotonic() < deadline, "the policy never took hold"
            place.tell(replace(SHUT, reason=f"R{uuid.uuid4().hex}"))
        assert (told.outcome, told.code, told.reason) == (WriteOutcome.REFUSED, 403, "Forbidden")
        place.take_token("product")
        assert place.tell(OPEN)[0].outcome is WriteOutcome.DONE
        assert place.conditions()[CONDITION]["status"] == "True"
    finally:
        kubectl("delete", "--ignore-not-found", "-f-", given=policy)


def test_the_readiness_gate_opens_and_a_restart_does_not_shut_it(place: Place, tmp_path: Path) -> None:
    """The sidecar runs here, beside the emulator; pod and API server are real."""
    place.grant(STATUS, EVENTS)
    access, state = place.api, tmp_path / "state"
    state.mkdir()
    env = {"POD_UID": access.uid, "POD_NAME": access.pod, "POD_NAMESPACE": access.namespace}
    env |= {"KUBERNETES_SERVICE_HOST": access.host, "KUBERNETES_SERVICE_PORT": access.port}
    env |= {"SIDECAR_REASK_SECONDS": "1"}
    run = "import sys\nfrom sidecar.__main__ import main\nsys.exit(main(['run']))\n"
    code = with_api_mount(Path(access.mount)) + run
    with Emulator(product_codes=(PRODUCT,)) as aws:
        aws.unsubscribe()
        sidecar = Sidecar(aws, state, **env)
        sidecar.line = [sys.executable, "-c", code]
        with sidecar:
            eventually(lambda: place.conditions().get(CONDITION, {}).get("status") == "False")
            aws.subscribe()
            sidecar.shows("entitled")
            began = time.monotonic()
            kubectl("wait", "--for=condition=Ready", "pod/product", "-n", place.namespace, "--timeout=20s")
            assert time.monotonic() - began < 5
        before = place.conditions()[CONDITION]
        with sidecar.start() as again:
            again.shows("entitled")
            eventually(lambda: again.api("GET /v1/status")[1]["kubernetes"]["condition"])
        assert place.conditions()[CONDITION]["lastTransitionTime"] == before["lastTransitionTime"]
