"""The chart in a real cluster: what the operator sees, and what the product is spared."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, eventually, image_parts

WEB = "app=shop-web"
HELPER = "app=shop-helper"
API = "app.kubernetes.io/component=api"
OURS = "entitlement-sidecar"
SERVER = ["entitlement-sidecar", "emulator", "--host", "0.0.0.0", "--port", "8080"]
"""Something that serves HTTP on 8080 and ends on SIGTERM, from the one image that every cluster here has."""


def product(space: Namespace, **more: object) -> dict[str, Any]:
    """Values of the parent chart: a product that serves, behind the gate."""
    gate = dict(more.pop("gate", {}))  # type: ignore[call-overload]
    own = {"image": space.emulator_image, "command": SERVER[:1], "args": SERVER[1:], "appGraceSeconds": 5}
    return {**own, **more, OURS: space.gate_values(**gate)}


def install(space: Namespace, chart: Path, values: dict[str, Any]) -> None:
    space.helm("upgrade", "shop", chart, values, "--install")


def started(space: Namespace, selector: str = WEB, container: str = "product") -> bool:
    status = space.status(selector, container)
    return bool(status.get("started")) or "terminated" in status.get("state", {})


def bookshop(space: Namespace, **gate: object) -> dict[str, Any]:
    registry, repository, tag = image_parts(space.emulator_image)
    image = {"registry": registry, "repository": repository, "tag": tag}
    return {
        "api": {"replicas": 1, "image": image, "command": SERVER},
        "worker": {"image": image, "command": SERVER},
        "search": {"image": image, "command": SERVER},
        "report": {"image": image, "command": ["entitlement-sidecar", "--version"]},
        "entitlement": space.gate_values(**gate),
    }


def test_the_example_waits_for_its_customer_and_opens_without_a_restart(space: Namespace, example: Path) -> None:
    space.helm("install", "shop", example, bookshop(space))
    space.describes(API, "denied", "customer_not_entitled", "Subscribe it in AWS Marketplace")
    assert not started(space, API, "api")
    assert space.endpoints("shop-api") == 0
    for waiting in ("worker", "search"):
        assert not started(space, f"app.kubernetes.io/component={waiting}", waiting)

    space.subscribe()
    for component in ("api", "worker", "search"):
        selector = f"app.kubernetes.io/component={component}"
        eventually(lambda selector=selector: space.ready(selector), saying=f"{component} ready")  # type: ignore[misc]
    eventually(lambda: space.endpoints("shop-api") == 1, saying="traffic for the api")
    assert space.status(API, OURS)["restartCount"] == 0
    assert len({call["workload"] for call in space.calls()}) == 1, "one pod asked, and three ran"

    space.kubectl("create", "job", "tonight", "--from=cronjob/shop-report")
    space.kubectl("wait", "--for=condition=complete", "job/tonight", "--timeout=90s")


def test_a_gate_only_pod_says_in_describe_for_what_it_waits(space: Namespace, parent: Path) -> None:
    gate = {"gateMode": "readiness", "probes": {"readiness": {"periodSeconds": 1}}}
    install(space, parent, product(space, gate=gate, gateOnly=True))
    space.describes(HELPER, "Startup probe failed: waiting for the sidecar at shop-web:8484", "kubectl get pods")
    assert not started(space, HELPER, "helper")
    space.subscribe()
    eventually(lambda: space.ready(HELPER), saying="the helper ready")
    assert space.status(HELPER, "entitlement-gate")["restartCount"] == 0
    since = time.monotonic()
    space.kubectl("delete", "pod", "--selector", HELPER)
    assert time.monotonic() - since < 20, "what does nothing ends at once"


def test_a_cronjob_of_a_denied_customer_does_not_pile_up(space: Namespace, example: Path) -> None:
    values = bookshop(space)
    values["report"]["schedule"] = "* * * * *"
    space.helm("install", "shop", example, values)
    eventually(lambda: space.get("jobs")["items"], 90, "the first job")
    time.sleep(65)  # past the schedule's next minute: a job that does not come cannot be waited for
    assert len(space.get("jobs")["items"]) == 1


WRONG: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "product code": ({"SIDECAR_PRODUCT_CODE": "no-such-product"}, ("denied", "invalid_product_code")),
    "public key version": ({"SIDECAR_PUBLIC_KEY_VERSION": "7"}, ("denied", "invalid_public_key_version")),
    "no role": (
        {"AWS_ROLE_ARN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_EC2_METADATA_DISABLED": "true"},
        ("misconfigured", "no_credentials"),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_readable_in_describe(what: str, space: Namespace, parent: Path) -> None:
    env, words = WRONG[what]
    space.subscribe()
    install(space, parent, product(space, gate={"env": env}))
    space.describes(WEB, *words)
    assert not started(space)


def test_a_wrong_key_is_readable_in_describe(space: Namespace, parent: Path) -> None:
    space.subscribe()
    space.order("behaviour", wrong_key=True)
    install(space, parent, product(space))
    space.describes(WEB, "denied", "token_signature")
    assert not started(space)


def test_bad_settings_are_readable_in_describe(space: Namespace, parent: Path) -> None:
    install(space, parent, product(space, gate={"env": {"SIDECAR_ON_DENEID": "hold"}}))
    space.describes(WEB, "SIDECAR_ON_DENEID", "Did you mean")


def test_gate_mode_readiness_starts_the_product_and_sends_it_no_traffic(space: Namespace, parent: Path) -> None:
    gate = {"gateMode": "readiness", "probes": {"type": "exec", "readiness": {"periodSeconds": 1}}}
    install(space, parent, product(space, gate=gate))
    eventually(lambda: started(space), saying="the product's start")
    space.describes(WEB, "denied", "customer_not_entitled")
    assert not space.ready(WEB)
    assert space.endpoints("shop-web") == 0
    space.subscribe()
    eventually(lambda: space.ready(WEB), saying="readiness")
    eventually(lambda: space.endpoints("shop-web") == 1, saying="traffic")


def test_gate_mode_readiness_gate_waits_for_the_condition(space: Namespace, parent: Path) -> None:
    gate = {"gateMode": "readinessGate", "rbac": {"subjects": ["default"]}}
    install(space, parent, product(space, gate=gate))
    eventually(lambda: started(space), saying="the product's start")
    space.describes(WEB, "entitlement-sidecar.io/entitled", "NotEntitled")
    assert not space.ready(WEB)
    space.subscribe()
    eventually(lambda: space.ready(WEB), saying="readiness")


def test_the_role_allows_the_condition_and_events_and_nothing_else(space: Namespace, parent: Path) -> None:
    install(space, parent, product(space, gate={"gateMode": "readinessGate", "rbac": {"subjects": ["default"]}}))
    account = f"--as=system:serviceaccount:{space.name}:default"

    def may(verb: str, what: str, *flags: str) -> bool:
        return space.kubectl("auth", "can-i", verb, what, *flags, account, check=False).strip() == "yes"

    assert may("patch", "pods", "--subresource=status")
    assert may("create", "events")
    assert not may("patch", "pods")
    assert not may("get", "pods")
    assert not may("delete", "pods")
    assert not may("get", "secrets")


def test_containers_of_the_old_kind_wait_by_themselves(space: Namespace, parent: Path) -> None:
    gate = {"containerMode": "classic", "appGraceSeconds": 2}
    values = product(space, gate=gate)
    values |= {"command": [], "args": SERVER}
    install(space, parent, values)
    eventually(lambda: "customer_not_entitled" in space.kubectl("logs", "-l", WEB, "-c", "product", check=False),
               saying="the product's container saying what it waits for")  # fmt: skip
    assert not space.ready(WEB)
    space.subscribe()
    eventually(lambda: space.ready(WEB), saying="readiness")


def test_gate_only_workloads_wait_for_the_metered_one_and_ask_nobody(space: Namespace, parent: Path) -> None:
    install(space, parent, product(space, gateOnly=True))
    space.describes("app=shop-helper", "entitlement-gate")
    eventually(lambda: "running" in space.status("app=shop-helper", "entitlement-gate").get("state", {}))
    assert not started(space, "app=shop-helper", "helper")
    space.subscribe()
    eventually(lambda: space.ready("app=shop-helper"), saying="the helper's start")
    assert len({call["workload"] for call in space.calls()}) == 1


def test_a_job_completes(space: Namespace, parent: Path) -> None:
    space.subscribe()
    values = product(space, kind="Job", restartPolicy="Never")
    install(space, parent, values | {"args": ["--version"]})
    space.kubectl("wait", "--for=condition=complete", "job/shop-web", "--timeout=90s")


def test_a_denied_job_ends_at_its_deadline(space: Namespace, parent: Path) -> None:
    values = product(space, kind="Job", restartPolicy="Never", activeDeadlineSeconds=8)
    install(space, parent, values | {"args": ["--version"]})
    space.kubectl("wait", "--for=condition=failed", "job/shop-web", "--timeout=90s")


def test_a_pod_that_never_restarts_waits_and_then_runs_once(space: Namespace, parent: Path) -> None:
    install(space, parent, product(space, kind="Pod", restartPolicy="Never") | {"args": ["--version"]})
    space.describes(WEB, "denied")
    assert not started(space)
    space.subscribe()
    eventually(lambda: space.pod(WEB)["status"]["phase"] == "Succeeded", saying="success")
    assert space.status(WEB, OURS)["restartCount"] == 0


def test_an_upgrade_and_a_rollback_work(space: Namespace, parent: Path) -> None:
    space.subscribe()
    install(space, parent, product(space))
    space.kubectl("rollout", "status", "deployment/shop-web", "--timeout=90s")
    install(space, parent, product(space, gate={"logLevel": "debug", "config": {"reask_seconds": 60}}))
    space.kubectl("rollout", "status", "deployment/shop-web", "--timeout=120s")
    assert len(space.get("configmaps", "--selector", "app.kubernetes.io/component=entitlement")["items"]) == 1
    space.helm("rollback", "shop", None, None, "1")
    space.kubectl("rollout", "status", "deployment/shop-web", "--timeout=120s")
    assert space.get("configmaps", "--selector", "app.kubernetes.io/component=entitlement")["items"] == []


@pytest.mark.parametrize("mode", ["native", "classic"])
def test_the_product_ends_first_and_the_sidecar_within_the_grace(mode: str, space: Namespace, parent: Path) -> None:
    space.subscribe()
    gate = {"containerMode": mode, "appGraceSeconds": 4}
    values = product(space, kind="Pod", restartPolicy="Never", gate=gate)
    if mode == "classic":
        values |= {"command": [], "args": SERVER}
    install(space, parent, values)
    eventually(lambda: space.ready(WEB), saying="readiness")
    # A finalizer keeps the ended pod to be looked at.
    space.kubectl("patch", "pod", "shop-web", "-p", '{"metadata":{"finalizers":["e2e.example.com/look"]}}')
    try:
        space.kubectl("delete", "pod", "shop-web", "--wait=false")

        def ended() -> dict[str, Any] | None:
            status = space.get("pod", "shop-web")["status"]
            every = [*status.get("initContainerStatuses", []), *status["containerStatuses"]]
            ends = {one["name"]: one["state"].get("terminated") for one in every}
            return ends if all(ends.values()) else None

        ends = eventually(ended, 60, "the end of both")
        if mode == "native":
            assert ends["product"]["finishedAt"] <= ends[OURS]["finishedAt"]
        else:
            assert ends["product"]["finishedAt"] < ends[OURS]["finishedAt"], "the preStop hook held ours back"
        assert ends[OURS]["exitCode"] == 0, "it ended by itself, within the grace"
    finally:
        space.kubectl(
            "patch", "pod", "shop-web", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]'
        )


def test_a_killed_sidecar_comes_back_alone_and_opens_again(space: Namespace, parent: Path) -> None:
    space.subscribe()
    install(space, parent, product(space))
    eventually(lambda: space.ready(WEB), saying="readiness")
    name = space.pod(WEB)["metadata"]["name"]
    space.kubectl("exec", name, "-c", OURS, "--", "sh", "-c", "kill 1", check=False)
    eventually(lambda: space.status(WEB, OURS)["restartCount"] == 1, saying="the sidecar's restart")
    eventually(lambda: space.ready(WEB), saying="readiness again")
    assert space.status(WEB, "product")["restartCount"] == 0
    assert space.pod(WEB)["metadata"]["name"] == name


def test_a_drained_node_lets_the_pod_go(space: Namespace, parent: Path) -> None:
    """As a drain does it: through the eviction API; a real one would empty a cluster of one node for everybody."""
    space.subscribe()
    install(space, parent, product(space))
    eventually(lambda: space.ready(WEB), saying="readiness")
    name = space.pod(WEB)["metadata"]["name"]
    eviction = (
        f'{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{name}","namespace":"{space.name}"}}}}'
    )
    from tests.e2e.cluster import run

    run(
        "kubectl", "create", "--raw", f"/api/v1/namespaces/{space.name}/pods/{name}/eviction", "-f", "-", stdin=eviction
    )
    eventually(lambda: space.pod(WEB)["metadata"]["name"] != name and space.ready(WEB), saying="the new pod")
    eventually(lambda: name not in space.kubectl("get", "pods", "--output", "name"), 60, "the end of the old pod")


def test_a_full_state_volume_stops_no_traffic(space: Namespace, parent: Path) -> None:
    space.subscribe()
    gate = {"state": {"medium": "Memory", "sizeLimit": "1Mi"}}
    install(space, parent, product(space, gate=gate))
    eventually(lambda: space.ready(WEB), saying="readiness")
    name = space.pod(WEB)["metadata"]["name"]
    fill = "dd if=/dev/zero of=/var/lib/entitlement-sidecar/full bs=4096 2>&1; df /var/lib/entitlement-sidecar"
    assert "No space left" in space.kubectl("exec", name, "-c", OURS, "--", "sh", "-c", fill, check=False)
    time.sleep(10)  # longer than its readiness probe would need to fail
    assert space.ready(WEB)
    assert space.endpoints("shop-web") == 1
    space.kubectl("exec", name, "-c", OURS, "--", "sh", "-c", "kill 1", check=False)
    eventually(lambda: space.status(WEB, OURS)["restartCount"] == 1, saying="the sidecar's restart")
    eventually(lambda: space.ready(WEB), saying="readiness on a full volume")


def test_everything_is_admitted_to_a_restricted_namespace(
    new_namespace: Callable[..., Namespace], parent: Path
) -> None:
    space = new_namespace("restricted")
    space.subscribe()
    install(space, parent, product(space, gateOnly=True))
    eventually(lambda: space.ready(WEB), saying="readiness")
    assert "violates PodSecurity" not in space.kubectl("get", "events")
