"""The injector in a real cluster: pods of charts that know nothing of the sidecar are gated; no other pod notices."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.quick_dataclasses import dataclass
from tests.chart.support import INJECTOR, ROOT, in_parent
from tests.e2e.cluster import HERE, Failed, Namespace, eventually, run
from tests.e2e.node import PYTHON
from tests.e2e.test_metering import billed

OURS = "entitlement-sidecar"
ASKS = {"entitlement-sidecar.io/inject": "true"}
PROGRAM = (HERE / "product.py").read_text()
DEPLOYMENT = "deployment/injector-entitlement-sidecar-injector"
ROUNDS = 40


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An injector in a namespace of its own, and a shop that it serves."""

    home: Namespace
    shop: Namespace
    chart: Path
    values: dict[str, Any]

    @property
    def webhook(self) -> str:
        return f"entitlement-sidecar-injector.{self.home.name}.injector"

    def helm(self, verb: str, **more: object) -> None:
        self.home.helm(verb, "injector", self.chart, {**self.values, **more}, "--wait", "--timeout", "120s")
        eventually(self.trusted, saying="an authority that the API server trusts")

    def trusted(self) -> str:
        """Return the certificates by which the API server recognises the injector."""
        found = json.loads(run("kubectl", "get", "mutatingwebhookconfiguration", self.webhook, "--output", "json"))
        return base64.b64decode(found["webhooks"][0]["clientConfig"].get("caBundle", "")).decode()

    def scale(self, replicas: int) -> None:
        self.home.kubectl("scale", DEPLOYMENT, f"--replicas={replicas}")
        self.home.kubectl("rollout", "status", DEPLOYMENT, "--timeout=90s")
        eventually(lambda: len(self.home.get("pods")["items"]) == replicas, saying=f"{replicas} injectors")


@pytest.fixture
def installed(new_namespace: Callable[..., Namespace], tmp_path: Path) -> Iterator[Callable[..., Installed]]:
    """Install injectors; what they have in the cluster is removed with them."""
    made: list[Installed] = []

    def install(gate: dict[str, Any] | None = None, **values: object) -> Installed:
        shop, home = new_namespace(), new_namespace(marketplace=False)
        label = shop.name  # each test's own: other tests have injectors too
        for space in (shop, home):  # its own namespace is never served, whatever its label
            run("kubectl", "label", "namespace", space.name, f"entitlement-sidecar.io/injection={label}")
        sidecar = shop.gate_values(dimensions=["requests"], rbac={"create": False}, **(gate or {}))
        one = Installed(
            home=home,
            shop=shop,
            chart=in_parent(tmp_path / home.name, INJECTOR),
            values={"namespaceLabelValue": label, "entitlement": sidecar, **values},
        )
        made.append(one)
        one.helm("install")
        return one

    yield install
    for one in made:
        run("helm", "uninstall", "injector", "--namespace", one.home.name, "--ignore-not-found", check=False)


def pod(space: Namespace, annotations: dict[str, str], *words: str, labels: dict[str, str] | None = None) -> Any:
    """Return what a chart that knows nothing of the sidecar renders; the restricted profile admits it."""
    container = {
        "name": "product",
        "image": space.emulator_image,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-c", PROGRAM, *(words or ("serve",))],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    safe = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "metadata": {"labels": labels or {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [container], "securityContext": safe, "terminationGracePeriodSeconds": 5},
    }


def deploy(space: Namespace, name: str, annotations: dict[str, str], *words: str, **labels: str) -> str:
    """Create a Deployment and return the selector of its pods."""
    selector = {"app": name}
    template = pod(space, annotations, *words, labels={**selector, **labels})
    spec = {"replicas": 1, "selector": {"matchLabels": selector}, "template": template}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    space.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    return f"app={name}"


def dry_run(space: Namespace, name: str, annotations: dict[str, str]) -> dict[str, Any]:
    """Return the pod that the API server would make."""
    given = pod(space, annotations)
    given |= {"apiVersion": "v1", "kind": "Pod", "metadata": {**given["metadata"], "name": name}}
    words = ("apply", "--dry-run=server", "--output", "json", "-f", "-")
    return dict(json.loads(space.kubectl(*words, stdin=json.dumps(given))))


def inits(found: dict[str, Any]) -> list[str]:
    return [one["name"] for one in found["spec"].get("initContainers", [])]


def refused(space: Namespace, name: str, *words: str) -> None:
    """Wait until the events of the Deployment's ReplicaSet say why there is no pod."""

    def said() -> bool:
        found = [
            one["message"]
            for one in space.get("events", "--field-selector", "reason=FailedCreate")["items"]
            if one["involvedObject"]["name"].startswith(f"{name}-")
        ]
        if not any(all(word in message for word in words) for message in found):
            raise Failed(f"events say {found}")
        return True

    eventually(said, saying=f"an event that says {words}")
    assert space.pods(f"app={name}") == []


def test_an_annotated_pod_is_gated_opens_and_is_metered(
    installed: Callable[..., Installed], new_namespace: Callable[..., Namespace]
) -> None:
    there, elsewhere = installed(), new_namespace(marketplace=False)
    shop, home = there.shop, there.home
    web = deploy(shop, "web", {**ASKS, "entitlement-sidecar.io/workload": "front"}, "serve", "3")
    plain = deploy(shop, "plain", {})
    own = deploy(home, "own", ASKS)
    unlabelled = deploy(elsewhere, "unlabelled", ASKS)

    shop.describes(web, "denied", "customer_not_entitled", "Subscribe it in AWS Marketplace")
    found = shop.pod(web)
    assert inits(found) == [OURS]
    assert found["metadata"]["labels"]["entitlement-sidecar.io/workload"] == "front"
    assert found["spec"]["terminationGracePeriodSeconds"] == 20
    for space, selector in ((shop, plain), (home, own), (elsewhere, unlabelled)):
        eventually(lambda space=space, selector=selector: space.ready(selector), saying=f"{selector} ready")  # type: ignore[misc]
        assert inits(space.pod(selector)) == []
    tried = dry_run(shop, "tried", ASKS)
    assert (inits(tried), tried["metadata"]["labels"]["entitlement-sidecar.io/workload"]) == ([OURS], "tried")
    assert not shop.status(web, "product").get("started")

    shop.subscribe()
    eventually(lambda: shop.ready(web), saying="the product runs")
    shop.kubectl("delete", "deployment", "web")

    def bill() -> bool:
        return [list(hours.values()) for hours in billed(shop).values()] == [[Decimal(3)]]

    eventually(bill, saying="the bill of what was used at the end")


def test_a_readiness_gate_opens_where_the_pods_are_given_the_right(installed: Callable[..., Installed]) -> None:
    there = installed(gate={"gateMode": "readinessGate"})
    shop = there.shop
    notes = run("helm", "get", "notes", "injector", "--namespace", there.home.name)
    (line,) = [one for one in notes.splitlines() if "create rolebinding" in one]
    shop.subscribe()
    web = deploy(shop, "web", ASKS)
    eventually(lambda: shop.status(web, "product").get("started"), saying="the product runs, and is not ready")
    assert not shop.ready(web)
    run(*line.replace("NAMESPACE", shop.name).split())
    eventually(lambda: shop.ready(web), 120, saying="the condition on the pod")


def test_what_cannot_be_injected_is_refused_with_the_reason(installed: Callable[..., Installed]) -> None:
    shop = installed().shop
    part_of = {"entitlement-sidecar.io/part-of": "another"}
    deploy(shop, "clash", ASKS, **part_of)
    deploy(shop, "typo", {"entitlement-sidecar.io/inject": "yes"})
    deploy(shop, "name", {"entitlement-sidecar.io/injcet": "true"})
    deploy(shop, "label", {}, **ASKS)
    deploy(shop, "upper", {"Entitlement-Sidecar.io/inject": "true"})
    deploy(shop, "missing", {**ASKS, "entitlement-sidecar.io/containers": "web"})
    refused(shop, "clash", "part-of: 'another', and the sidecar needs 'injector-entitlement'. Remove it")
    refused(shop, "typo", "entitlement-sidecar.io/inject is 'yes'. Write \"true\"")
    refused(shop, "name", "Did you mean entitlement-sidecar.io/inject?")
    refused(shop, "label", "is a label of the pod, and only an annotation asks")
    refused(shop, "upper", "Entitlement-Sidecar.io/inject is unknown. Did you mean entitlement-sidecar.io/inject?")
    refused(shop, "missing", "'web', which the pod has not. It has product")


def test_while_no_injector_runs_annotated_pods_wait_and_others_do_not(installed: Callable[..., Installed]) -> None:
    there = installed()
    shop = there.shop
    shop.subscribe()
    there.scale(0)
    web = deploy(shop, "web", ASKS)
    plain = deploy(shop, "plain", {})
    declined = deploy(shop, "declined", {"entitlement-sidecar.io/inject": "false"})
    refused(shop, "web", 'failed calling webhook "inject.entitlement-sidecar.io"')
    for selector in (plain, declined):
        eventually(lambda selector=selector: shop.ready(selector), saying=f"{selector} ready")  # type: ignore[misc]
        assert inits(shop.pod(selector)) == []
    there.scale(2)
    eventually(lambda: shop.ready(web), 180, saying="the ReplicaSet recovered by itself")
    assert inits(shop.pod(web)) == [OURS]


@contextmanager
def load(space: Namespace) -> Iterator[list[str]]:
    """Create annotated pods one after the other; yields what went wrong, and ends when there were enough of them."""
    wrong: list[str] = []
    over, count = threading.Event(), 0

    def create() -> None:
        nonlocal count
        while not over.is_set():
            count += 1
            try:
                if inits(dry_run(space, f"load-{count}", ASKS)) != [OURS]:
                    wrong.append(f"pod {count} has no gate")
            except Failed as exc:
                wrong.append(str(exc))

    thread = threading.Thread(target=create)
    thread.start()
    try:
        yield wrong
        eventually(lambda: count > ROUNDS or wrong, saying=f"{ROUNDS} pods")
    finally:
        over.set()
        thread.join()


def test_no_pod_is_refused_while_certificates_rotate_and_injectors_leave(installed: Callable[..., Installed]) -> None:
    there = installed(certificate={"rotateSeconds": 8, "settleSeconds": 4})
    seen = {there.trusted()}

    def rotated(times: int) -> bool:
        seen.add(there.trusted())
        return len(seen) > times

    with load(there.shop) as wrong:
        eventually(lambda: rotated(6), saying="rotations")
        there.home.kubectl("rollout", "restart", DEPLOYMENT)
        there.home.kubectl("rollout", "status", DEPLOYMENT, "--timeout=120s")
        eventually(lambda: rotated(10), saying="rotations")
    assert wrong == []


def documented_ungated() -> list[str]:
    """Return what the guide's command lists."""
    text = (ROOT / "docs" / "howto" / "inject.md").read_text()
    (command,) = re.findall(r"```sh\n(kubectl get pods --all-namespaces .*?)```", text, re.DOTALL)
    return run("bash", "-c", command).splitlines()


def test_an_upgrade_keeps_what_the_api_server_trusts_and_an_uninstall_leaves_nothing(
    installed: Callable[..., Installed],
) -> None:
    there = installed()
    shop, before = there.shop, there.trusted()
    gate = {**there.values["entitlement"], "logLevel": "debug"}
    with load(shop) as wrong:
        there.helm("upgrade", entitlement=gate)
    assert wrong == []
    assert there.trusted() == before

    remove = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    run(
        "kubectl",
        "patch",
        "mutatingwebhookconfiguration",
        there.webhook,
        "--type=json",
        f"--patch={json.dumps(remove)}",
    )
    eventually(lambda: there.trusted() == before, saying="what somebody removed is written again")

    run("helm", "uninstall", "injector", "--namespace", there.home.name, "--wait")
    for kind in ("mutatingwebhookconfigurations", "clusterroles", "clusterrolebindings"):
        assert there.home.name not in run("kubectl", "get", kind, "--output", "name")
    kinds = "all,secrets,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
    ours = "app.kubernetes.io/instance=injector"
    eventually(lambda: not there.home.get(kinds, "--selector", ours)["items"], saying="nothing left")
    deploy(shop, "afterwards", ASKS)
    deploy(shop, "plain", {})
    eventually(lambda: shop.pod("app=plain"), saying="a pod that asks for nothing")
    eventually(lambda: shop.pod("app=afterwards"), saying="a pod without its gate")
    found = [line for line in documented_ungated() if line.startswith(f"{shop.name}/")]
    assert [line.partition("/")[2].startswith("afterwards-") for line in found] == [True]
