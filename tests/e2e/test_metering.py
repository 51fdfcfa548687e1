"""Usage in a real cluster: killed, deleted, replaced, out of room and out of memory, it is billed as acknowledged.

The marketplace's clock stands, and is moved where an hour has to end.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import node
from tests.e2e.cluster import HERE, PRODUCT, Failed, Namespace, eventually, run
from tests.e2e.test_gate import OURS, WEB, install
from tests.e2e.volume import claimed

TEN, ELEVEN = "2026-01-02T10:00:00.000Z", "2026-01-02T11:00:00.000Z"
PROGRAM = (HERE / "product.py").read_text()
STATE = "/var/lib/entitlement-sidecar"


@pytest.fixture
def space(new_namespace: Callable[..., Namespace]) -> Namespace:
    """A customer who has subscribed, at twenty past ten."""
    return at_twenty_past_ten(new_namespace())


@pytest.fixture
def lenient(new_namespace: Callable[..., Namespace]) -> Namespace:
    """The same, where a pod may reach for its node."""
    return at_twenty_past_ten(new_namespace("privileged"))


def at_twenty_past_ten(space: Namespace) -> Namespace:
    space.order("clock", now="2026-01-02T10:20:00Z", speed=0)
    space.subscribe()
    return space


def metered(space: Namespace, *words: str, gate: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    """Values of the parent chart: a product that reports usage."""
    given: dict[str, Any] = {"dimensions": ["requests"], **(gate or {})}
    given["env"] = {"SIDECAR_CLOCK_URL": f"http://marketplace.{space.name}.svc:8486", **given.pop("env", {})}
    own = {"image": space.emulator_image, "command": [node.PYTHON, "-c", PROGRAM], "args": list(words)}
    return {**own, "appGraceSeconds": 10, **more, OURS: space.gate_values(**given)}


def ready(space: Namespace) -> dict[str, Any]:
    """The pod, once its product may run."""

    def found() -> dict[str, Any] | None:
        return next((one for one in space.pods(WEB) if is_ready(one)), None)

    return eventually(found, saying="readiness")


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def name_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def inside(space: Namespace, pod: dict[str, Any], container: str, *command: str, check: bool = True) -> str:
    return space.kubectl("exec", name_of(pod), "-c", container, "--", *command, check=check)


def push(space: Namespace, pod: dict[str, Any], quantity: int) -> tuple[int, dict[str, Any]]:
    """Status and body of one try, from beside the product."""
    said = inside(space, pod, "product", node.PYTHON, "-c", PROGRAM, "push", str(quantity))
    status, body = json.loads(said)
    return status, json.loads(body)


def billed(space: Namespace) -> dict[str, dict[str, Decimal]]:
    """What AWS would charge for: workload → hour → quantity. No dimension but `requests` is used here."""
    found: dict[str, dict[str, Decimal]] = {}
    for line in space.marketplace("bill")["lines"]:
        assert (line["product"], line["dimension"]) == (PRODUCT, "requests")
        for one in line["hours"]:
            hours = found.setdefault(one["workload"], {})
            assert one["hour"] not in hours, "an hour is billed once"
            hours[one["hour"]] = Decimal(one["quantity"])
    return found


def awaits_bill(space: Namespace, expected: dict[str, dict[str, int]]) -> None:
    """And that it stays at that."""

    def seen() -> bool:
        if (found := billed(space)) != expected:
            raise Failed(f"the bill is {found}, not {expected}")
        return True

    eventually(seen, saying="the bill")
    time.sleep(1)  # a line that does not come cannot be waited for
    assert seen()


def uid(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])


def records(space: Namespace, pod: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(inside(space, pod, OURS, "entitlement-sidecar", "usage", "--json"))[
        "records"
    ]
    return found


def is_gone(space: Namespace, pod: dict[str, Any]) -> bool:
    return name_of(pod) not in space.kubectl("get", "pods", "--output", "name")


def acknowledged(space: Namespace, pod: dict[str, Any]) -> int:
    """So far, of a busy product."""
    return int(inside(space, pod, "product", "sh", "-c", "cat /data/acknowledged || echo 0") or 0)


def brought_to_rest(space: Namespace, pod: dict[str, Any]) -> int:
    """A busy product's last word on what was acknowledged."""
    inside(space, pod, "product", "touch", "/data/stop")
    return int(
        eventually(lambda: inside(space, pod, "product", "sh", "-c", "cat /data/done"), saying="the product's rest")
    )


def test_what_was_acknowledged_before_a_sigkill_is_billed_once(lenient: Namespace, parent: Path) -> None:
    space = lenient
    install(space, parent, metered(space, "busy"))
    pod = ready(space)
    before = eventually(lambda: acknowledged(space, pod), saying="usage")
    node.kill_process_one(space, pod, OURS)
    eventually(lambda: space.status(WEB, OURS)["restartCount"] == 1, saying="the sidecar's restart")
    assert space.status(WEB, OURS)["lastState"]["terminated"]["exitCode"] == 137
    eventually(lambda: acknowledged(space, pod) > before + 5, saying="usage after the restart")
    total = brought_to_rest(space, pod)
    space.order("clock", now="2026-01-02T11:10:00Z")
    awaits_bill(space, {uid(pod): {TEN: total}})
    assert space.status(WEB, "product")["restartCount"] == 0


def test_what_was_acknowledged_before_the_memory_ran_out_is_billed_once(space: Namespace, parent: Path) -> None:
    limits = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "80Mi"}}
    install(space, parent, metered(space, "busy", gate={"resources": limits}))
    pod = ready(space)
    before = eventually(lambda: acknowledged(space, pod), saying="usage")
    # Files in memory count for the container whose process writes them, and go on counting when the kernel has ended
    # the largest of its processes.
    hog = "while true; do dd if=/dev/zero of=/dev/shm/$$ bs=64k count=2000; done"
    inside(space, pod, OURS, "sh", "-c", hog, check=False)
    eventually(lambda: space.status(WEB, OURS)["restartCount"] >= 1, saying="the sidecar's restart")
    assert space.status(WEB, OURS)["lastState"]["terminated"]["reason"] == "OOMKilled"
    eventually(lambda: acknowledged(space, pod) > before + 5, saying="usage after the restart")
    total = brought_to_rest(space, pod)
    space.order("clock", now="2026-01-02T11:10:00Z")
    awaits_bill(space, {uid(pod): {TEN: total}})


@pytest.mark.parametrize("mode", ["native", "classic"])
def test_a_deleted_pod_bills_the_running_hour_with_what_the_product_said_last(
    mode: str, space: Namespace, parent: Path
) -> None:
    values = metered(space, "serve", "1000", gate={"containerMode": mode}, kind="Pod", restartPolicy="Never")
    install(space, parent, values | {"appGraceSeconds": 6})
    pod = ready(space)
    assert push(space, pod, 7) == (200, {"accepted": 1, "duplicates": 0})
    grace = int(pod["spec"]["terminationGracePeriodSeconds"])
    began = time.monotonic()
    space.kubectl("delete", "pod", name_of(pod), "--wait=false")
    eventually(lambda: is_gone(space, pod), 60, "the pod's end")
    assert time.monotonic() - began < grace
    assert billed(space) == {uid(pod): {TEN: 1007}}


def test_an_end_without_aws_fits_the_grace_and_says_what_is_left(space: Namespace, parent: Path) -> None:
    """The volume dies with the pod: the log is all that stays."""
    install(space, parent, metered(space, "serve", "1000", kind="Pod", restartPolicy="Never"))
    pod = ready(space)
    assert push(space, pod, 7)[0] == 200
    space.order("faults", operation="MeterUsage", kind="hang", times="forever")
    command = ["kubectl", "--namespace", space.name, "logs", name_of(pod), "--container", OURS, "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        began = time.monotonic()
        space.kubectl("delete", "pod", name_of(pod), "--wait=false")
        eventually(lambda: is_gone(space, pod), 60, "the pod's end")
        assert time.monotonic() - began < int(pod["spec"]["terminationGracePeriodSeconds"])
        said = following.communicate(timeout=30)[0]
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (left,) = [one for one in events if one["event"] == "usage.left_behind"]
    assert "1007" in json.dumps(left)
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("sidecar.stopped", 0)


@pytest.fixture
def shared(lenient: Namespace, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Values that put the state on one volume, which outlives the pods."""
    with claimed(lenient, "ledger", WEB) as claim:
        yield {
            "extraVolumes": [{"name": "ledger", "persistentVolumeClaim": {"claimName": claim}}],
            "state": {"existingVolume": "ledger"},
        }
        if getattr(request.node, "failed", False):
            print(lenient.everything())


def on_shared(space: Namespace, shared: dict[str, Any], **gate: object) -> dict[str, Any]:
    values = metered(space, "serve", "1000", gate=gate)
    values[OURS]["extraVolumes"] += shared["extraVolumes"]
    values[OURS]["state"] = shared["state"]
    return values


def replaced(space: Namespace, old: dict[str, Any]) -> dict[str, Any]:
    """The pod of the new revision, while the old one may still be ending."""

    def found() -> dict[str, Any] | None:
        return next((one for one in space.pods(WEB) if uid(one) != uid(old) and is_ready(one)), None)

    return eventually(found, saying="the new pod")


def test_pods_that_overlap_on_one_volume_bill_each_for_itself(
    lenient: Namespace, parent: Path, shared: dict[str, Any]
) -> None:
    space = lenient
    install(space, parent, on_shared(space, shared))
    old = ready(space)
    assert push(space, old, 7)[0] == 200
    install(space, parent, on_shared(space, shared, logLevel="debug"))
    new = replaced(space, old)
    assert push(space, new, 5)[0] == 200
    eventually(lambda: is_gone(space, old), saying="the end of the old pod")
    space.order("clock", now="2026-01-02T11:10:00Z")
    awaits_bill(space, {uid(old): {TEN: 1007}, uid(new): {TEN: 5}})


def test_what_a_pod_could_not_send_at_its_end_the_next_one_bills(
    lenient: Namespace, parent: Path, shared: dict[str, Any]
) -> None:
    space = lenient
    install(space, parent, on_shared(space, shared))
    old = ready(space)
    assert push(space, old, 7)[0] == 200
    space.order("faults", operation="MeterUsage", kind="ThrottlingException", times="forever")
    install(space, parent, on_shared(space, shared, logLevel="debug"))
    new = replaced(space, old)
    assert push(space, new, 5)[0] == 200
    eventually(lambda: is_gone(space, old), saying="the end of the old pod")
    assert billed(space) == {}
    run(
        "kubectl",
        "delete",
        "--raw",
        f"/api/v1/namespaces/{space.name}/services/marketplace:http/proxy/_emulator/faults",
    )
    space.order("clock", now="2026-01-02T10:40:00Z")  # it looks for what others left every ten minutes
    said = lambda: space.kubectl("logs", name_of(new), "-c", OURS)  # noqa: E731
    eventually(lambda: "usage.adopted" in said(), saying="adoption")
    space.order("clock", now="2026-01-02T11:10:00Z")
    awaits_bill(space, {uid(new): {TEN: 1012}})


def test_a_full_volume_refuses_usage_and_stops_no_traffic(space: Namespace, parent: Path) -> None:
    gate = {"state": {"medium": "Memory", "sizeLimit": "2Mi"}}
    install(space, parent, metered(space, "serve", "0", gate=gate))
    pod = ready(space)
    assert push(space, pod, 7)[0] == 200
    fill = f"dd if=/dev/zero of={STATE}/full bs=1k 2>&1"
    assert "No space left" in inside(space, pod, OURS, "sh", "-c", fill, check=False)

    def refused() -> bool:  # a few more may fit into what the ledger has reserved
        status, body = push(space, pod, 1)
        if status == 200:
            accepted.append(1)
            return False
        assert (status, body["reason"]) == (503, "ledger_full"), body
        return True

    accepted: list[int] = []
    eventually(refused, saying="a refusal")
    time.sleep(5)  # longer than its readiness probe would need to fail
    assert space.ready(WEB)
    assert space.endpoints("shop-web") == 1
    inside(space, pod, OURS, "rm", f"{STATE}/full")
    eventually(lambda: push(space, pod, 5)[0] == 200, 30, "usage being accepted again")
    assert space.status(WEB, OURS)["restartCount"] == 0
    space.order("clock", now="2026-01-02T11:10:00Z")
    awaits_bill(space, {uid(pod): {TEN: 12 + sum(accepted)}})


def test_a_job_completes_and_its_usage_is_billed(space: Namespace, parent: Path) -> None:
    install(space, parent, metered(space, "once", "7", kind="Job", restartPolicy="Never"))
    space.kubectl("wait", "--for=condition=complete", "job/shop-web", "--timeout=90s")
    assert list(billed(space).values()) == [{TEN: 7}]


def test_usage_that_waits_for_a_person_shows_in_describe(space: Namespace, parent: Path) -> None:
    gate = {
        "dimensions": ["nothing_like_it", "requests"],
        "kubernetesApi": {"enabled": True},
        "rbac": {"subjects": ["default"]},
    }
    install(space, parent, metered(space, "serve", "0", gate=gate))
    pod = ready(space)
    assert push(space, pod, 7)[0] == 200
    inside(space, pod, "product", "entitlement-sidecar", "report", "nothing_like_it", "3")
    space.order("clock", now="2026-01-02T11:10:00Z")
    described = space.describes(WEB, "UsageWaiting", "1 rejected, 0 disputed", "entitlement-sidecar usage retry")
    assert "Entitled" in described
    states = {one["dimension"]: (one["state"], one["last_error"]) for one in records(space, pod)}
    assert states["nothing_like_it"] == ("rejected", "InvalidUsageDimensionException")
    awaits_bill(space, {uid(pod): {TEN: 7}})
