"""The definitions of `ecs/` gate and meter a product, run by a local ECS with real containers.

The product is a Python program in the sidecar's own image, so that one image is enough.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.emulator import Emulator
from tests.ecs import templates
from tests.ecs.agent_rules import Health, Status
from tests.ecs.local_ecs import LocalTask

SIDECAR = "entitlement-sidecar"
PYTHON = "/opt/entitlement-sidecar/bin/python"
AWS_PORT = 8486
FAST = 0.1
"""Scale of the definition's times: a health check every second instead of every ten."""
PRODUCT = """
import json, os, signal, sys, time, urllib.request
def push(quantity, id):
    body = json.dumps({"dimension": "requests", "quantity": quantity, "id": id}).encode()
    url = os.environ.get("USAGE", "http://127.0.0.1:8485") + "/v1/usage"
    urllib.request.urlopen(urllib.request.Request(url, body), timeout=5)
def end(*_):
    if os.environ.get("LAST"):
        push(int(os.environ["LAST"]), "last")
        print("pushed the last", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("product runs", flush=True)
if os.environ.get("FIRST"):
    push(int(os.environ["FIRST"]), "first")
while True:
    time.sleep(0.1)
"""
Start = Callable[..., LocalTask]


def definition(image: str, launch_type: str = "FARGATE", mode: str = "awsvpc", **sidecar: Any) -> dict[str, Any]:
    """Return a definition of `ecs/` with this image for both containers; `sidecar` changes fields of its container."""
    name = {"FARGATE": "fargate.json", "EC2": "ec2.json"}[launch_type]
    name = "ec2-bridge.json" if mode == "bridge" else name
    found = templates.filled((templates.DIRECTORY / name).read_text())
    gate, app = found["containerDefinitions"]
    gate |= {"image": image, **sidecar}
    app |= {"image": image, "entryPoint": [PYTHON], "command": ["-c", PRODUCT]}
    return found


@pytest.fixture
def start(image: str, aws: Emulator) -> Iterator[Start]:
    """Yield a function that starts a task whose sidecar asks the emulator; the task is removed after the test."""
    with ExitStack() as stack:

        def started(
            task_definition: dict[str, Any] | None = None,
            product: dict[str, str] | None = None,
            allowed: bool = True,
            platform: str = "ecs",
            settings: dict[str, str] | None = None,
            **more: Any,
        ) -> LocalTask:
            env = {
                "SIDECAR_PRODUCT_CODE": "prod1",
                "SIDECAR_PUBLIC_KEY": aws.public_key(),
                "SIDECAR_ENDPOINT_URL": f"http://127.0.0.1:{AWS_PORT}",
                "SIDECAR_CLOCK_URL": f"http://127.0.0.1:{AWS_PORT}",
                "SIDECAR_DIMENSIONS": "requests",
            }
            task = LocalTask(
                task_definition or definition(image),
                reach={AWS_PORT: aws.port},
                env={SIDECAR: env | (settings or {}), "app": product or {}},
                **({"second": FAST} | more),
            )
            caller = {"workload": task.arn, "platform": platform, "allowed": allowed}
            aws.define_caller(access_key=task.access_key, **caller)
            aws.define_caller(access_key=task.instance_key, workload="node", platform="none")
            return stack.enter_context(task)

        yield started


def runs(task: LocalTask) -> None:
    task.until(lambda: task["app"].status is Status.RUNNING)
    task.until(lambda: "product runs" in task.logs("app"))


def shown(task: LocalTask) -> str:
    """Return the line that the health check prints."""
    return task.exec(SIDECAR, "entitlement-sidecar", "healthcheck").stdout


def billed(aws: Emulator) -> dict[int, int]:
    return {record.slot.hour.hour: int(record.quantity) for record in aws.usage_records()}


# -- the gate


@pytest.mark.parametrize(("launch_type", "agent"), [("FARGATE", (1, 105, 1)), ("EC2", (1, 103, 0))])
def test_an_entitled_task_starts_its_product_after_the_gate(
    start: Start, image: str, launch_type: str, agent: tuple[int, int, int]
) -> None:
    """An agent older than 1.104.0 sets no region variables; the task's ARN has the region."""
    task = start(definition(image, launch_type), launch_type=launch_type, agent=agent)
    runs(task)
    assert task.events[:3] == [f"{SIDECAR} started", f"{SIDECAR} HEALTHY", "app started"]
    status = json.loads(
        task.exec(
            SIDECAR,
            PYTHON,
            "-c",
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8485/v1/status').read().decode())",
        ).stdout
    )
    assert (status["workload"]["id"], status["workload"]["kind"]) == (task.arn, "task")
    assert status["workload"]["launch_type"] == launch_type
    assert (status["aws"]["region"], status["aws"]["region_source"]) == ("eu-central-1", "the task ARN")
    assert status["aws"]["credential_source"] == "the ECS task role"
    assert task.last_status == "RUNNING"


def test_a_denied_task_never_starts_its_product_and_logs_the_reason(start: Start, aws: Emulator) -> None:
    aws.unsubscribe()
    task = start()
    task.until_stopped()
    assert "app started" not in task.events
    assert f"{SIDECAR} restarted" not in task.events
    described = task.describe()
    assert (described["stopCode"], described["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert {one["name"]: one.get("exitCode") for one in described["containers"]} == {SIDECAR: 77, "app": None}
    ending = task.logged(SIDECAR, "sidecar.ending")[-1]
    assert ending["exit_code"] == 77
    assert "no subscription" in ending["hint"]


def test_a_task_that_aws_throttles_for_minutes_starts_when_it_is_answered(start: Start, aws: Emulator) -> None:
    """Longer than Fargate's longest startTimeout: the definition has none, and the gate waits."""
    aws.fault("RegisterUsage", "ThrottlingException", times=None)
    task = start(second=1.0)
    with pytest.raises(AssertionError):
        task.until(lambda: not task.should_run or task["app"].status is not Status.PENDING, 130)
    assert shown(task).startswith("pending (throttled)")
    assert task.last_status == "PENDING"
    assert task[SIDECAR].health is Health.UNKNOWN, "failures within startPeriod do not count"
    aws.clear_faults()
    task.until(lambda: task["app"].status is Status.RUNNING, 120)


def test_with_a_start_timeout_the_same_task_fails(start: Start, image: str, aws: Emulator) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", times=None)
    task = start(definition(image, startTimeout=60))
    task.until_stopped()
    assert "app started" not in task.events
    assert task.stop_code == "TaskFailedToStart"
    assert "has timed out" in task.stopped_reason


def test_a_late_grant_opens_the_gate_of_the_task_that_waits(start: Start, aws: Emulator) -> None:
    """`misconfigured` never ends the process; UNHEALTHY is shown after minutes, and the agent stops nothing for it."""
    task = start(allowed=False)
    task.until(lambda: task[SIDECAR].health is Health.UNHEALTHY, 90)
    assert shown(task).startswith("misconfigured (access_denied)")
    assert task.should_run
    assert task.last_status == "PENDING"
    aws.define_caller(access_key=task.access_key, allowed=True)
    task.until(lambda: task["app"].status is Status.RUNNING, 90)
    assert task[SIDECAR].restarts == 0


def test_without_task_metadata_aws_is_not_asked_and_the_gate_stays_shut(start: Start, aws: Emulator) -> None:
    task = start(second=1.0)
    task.metadata_available = False
    task.until(lambda: task[SIDECAR].status is Status.RUNNING)
    task.until(lambda: "task_metadata_unreadable" in shown(task))
    assert [call for call in aws.calls() if call.operation == "RegisterUsage"] == []
    task.metadata_available = True
    task.until(lambda: task["app"].status is Status.RUNNING, 90)


def test_a_command_override_runs_in_the_task_and_starts_no_product(start: Start, image: str, aws: Emulator) -> None:
    # At full scale: a command that ends within the 60 s of restartAttemptPeriod is not started again.
    task = start(definition(image, command=["settings"]), second=1.0)
    task.until_stopped()
    assert task[SIDECAR].exit_code == 0
    assert "SIDECAR_ON_DENIED\texit\tenvironment" in task.logs(SIDECAR)
    assert task.events == [f"{SIDECAR} started", f"{SIDECAR} exited 0"]
    assert aws.calls() == []


def test_wrong_settings_end_the_task_with_exit_code_78(start: Start) -> None:
    task = start(settings={"SIDECAR_ON_DENIED": "perhaps"})
    task.until_stopped()
    assert (task[SIDECAR].exit_code, task[SIDECAR].restarts) == (78, 0)
    assert "SIDECAR_ON_DENIED" in task.logs(SIDECAR)


# -- credentials


@pytest.mark.parametrize(("launch_type", "instance_role"), [("FARGATE", False), ("EC2", True)])
def test_a_task_without_a_role_reports_it_and_never_asks_as_the_node(
    start: Start, image: str, aws: Emulator, launch_type: str, instance_role: bool
) -> None:
    bare = definition(image, launch_type)
    del bare["taskRoleArn"]
    task = start(bare, launch_type=launch_type, instance_role=instance_role)
    task.until(lambda: task[SIDECAR].status is Status.RUNNING)
    task.until(lambda: "no_credentials" in shown(task))
    assert "set taskRoleArn, not only executionRoleArn" in shown(task)
    assert [call for call in aws.calls() if call.operation == "RegisterUsage"] == []


def test_a_denial_for_the_nodes_role_names_the_role_as_the_cause(start: Start, image: str) -> None:
    bare = definition(image, "EC2")
    del bare["taskRoleArn"]
    settings = {"SIDECAR_ON_DENIED": "hold", "AWS_EC2_METADATA_DISABLED": "false"}
    task = start(bare, launch_type="EC2", instance_role=True, settings=settings)
    task.until(lambda: task[SIDECAR].status is Status.RUNNING)
    task.until(lambda: shown(task).startswith("denied (platform_not_supported)"))
    assert "fell back to the instance's role" in shown(task)
    assert task["app"].status is Status.PENDING


# -- usage


def test_a_stop_sends_the_running_hour_after_the_product_has_ended(start: Start, aws: Emulator) -> None:
    task = start(product={"FIRST": "3", "LAST": "4"})
    runs(task)
    task.stop()
    task.until_stopped()
    tail = task.events[-4:]
    assert tail == ["app stop requested", "app exited 0", f"{SIDECAR} stop requested", f"{SIDECAR} exited 0"]
    assert "pushed the last" in task.logs("app")
    assert billed(aws) == {10: 7}
    assert task.logged(SIDECAR, "usage.left_behind") == []


def test_a_product_that_ends_by_itself_ends_the_task_and_is_billed(start: Start, aws: Emulator) -> None:
    task = start(product={"FIRST": "3"})
    runs(task)
    task.until(lambda: usage(task).get("10:00") == "3")
    task.signal("app", "KILL")
    task.until_stopped()
    assert task.stopped_reason == "Essential container in task exited"
    assert task["app"].exit_code == 137
    assert billed(aws) == {10: 3}


def test_a_crash_of_the_sidecar_mid_hour_loses_nothing(start: Start, aws: Emulator) -> None:
    task = start(product={"FIRST": "3", "LAST": "4"})
    runs(task)
    task.until(lambda: usage(task).get("10:00") == "3")
    wait_restartable(task)
    task.signal(SIDECAR, "KILL")
    task.until(lambda: task[SIDECAR].restarts == 1)
    task.until(lambda: task[SIDECAR].health is Health.HEALTHY)
    assert usage(task).get("10:00") == "3"
    assert task.events.count("app started") == 1, "the gate is a start gate: the product runs on"
    task.stop()
    task.until_stopped()
    assert billed(aws) == {10: 7}


def test_a_restart_of_the_container_alone_keeps_the_running_hour_open(start: Start, aws: Emulator) -> None:
    """SIGTERM comes from a process on the instance, while the task's desired status is RUNNING."""
    task = start(product={"FIRST": "3", "LAST": "4"})
    runs(task)
    task.until(lambda: usage(task).get("10:00") == "3")
    wait_restartable(task)
    task.signal(SIDECAR, "TERM")
    task.until(lambda: task[SIDECAR].restarts == 1)
    assert task.logged(SIDECAR, "metering.stopped")[-1]["running_hour"] == "open"
    assert billed(aws) == {}
    task.until(lambda: task[SIDECAR].health is Health.HEALTHY)
    task.stop()
    task.until_stopped()
    assert billed(aws) == {10: 7}


def test_unhealthy_is_never_reported_for_metering_trouble(start: Start, aws: Emulator) -> None:
    aws.fault("MeterUsage", "InternalServiceErrorException", times=None)
    task = start(product={"FIRST": "3"})
    runs(task)
    task.until(lambda: usage(task).get("10:00") == "3")
    for hour in (11, 12, 13):
        aws.set_clock(now=datetime(2026, 1, 2, hour, 30, tzinfo=UTC))
        checks = len(task[SIDECAR].healths)
        task.until(lambda checks=checks: len(task[SIDECAR].healths) > checks + 3)
    assert task.logged(SIDECAR, "metering.overdue")
    assert Health.UNHEALTHY not in task[SIDECAR].healths
    opened = task[SIDECAR].healths.index(Health.HEALTHY)
    assert set(task[SIDECAR].healths[opened:]) == {Health.HEALTHY}
    assert task.should_run


def test_usage_that_is_lost_with_the_task_is_logged(start: Start, aws: Emulator) -> None:
    aws.fault("MeterUsage", "InternalServiceErrorException", times=None)
    task = start(product={"FIRST": "3"}, settings={"SIDECAR_FLUSH_SECONDS": "5"})
    runs(task)
    task.until(lambda: usage(task).get("10:00") == "3")
    task.stop()
    task.until_stopped()
    left = task.logged(SIDECAR, "usage.left_behind")
    assert [(one["left"]["dimension"], one["left"]["quantity"]) for one in left] == [("requests", "3")]
    assert left[0]["workload"] == task.arn


def test_in_bridge_mode_the_product_pushes_by_its_link(start: Start, image: str, aws: Emulator) -> None:
    product = {"USAGE": f"http://{SIDECAR}:8485", "FIRST": "3", "LAST": "4"}
    task = start(definition(image, "EC2", "bridge"), product=product, launch_type="EC2")
    runs(task)
    alone = "import urllib.request as u; u.urlopen('http://127.0.0.1:8485/healthz')"
    assert "Connection refused" in task.exec("app", PYTHON, "-c", alone).stderr, "there is no shared localhost"
    task.until(lambda: usage(task).get("10:00") == "3")
    task.stop()
    task.until_stopped()
    assert billed(aws) == {10: 7}


def usage(task: LocalTask) -> dict[str, str]:
    """Return hour → quantity, as `usage --json` prints them."""
    printed = task.exec(SIDECAR, "entitlement-sidecar", "usage", "--json").stdout
    found = json.loads(printed) if printed.strip().startswith(("{", "[")) else {"records": []}
    records = found["records"] if isinstance(found, dict) else found
    return {record["hour"][11:16]: record["quantity"] for record in records}


def wait_restartable(task: LocalTask) -> None:
    """Wait for restartAttemptPeriod: ECS restarts no container that failed within it."""
    period = task[SIDECAR].definition["restartPolicy"]["restartAttemptPeriod"] * task.second
    began = task[SIDECAR].started_at or 0.0
    task.until(lambda: time.monotonic() - began > period)


# -- other tasks of the product


@pytest.mark.parametrize("subscribed", [True, False])
def test_a_gate_only_task_waits_for_the_products_own_sidecar(
    start: Start, image: str, aws: Emulator, subscribed: bool
) -> None:
    """The worker starts once `wait` ends with 0; denied, it never does, and the task stops."""
    if not subscribed:
        aws.unsubscribe()
    product = start(settings={"SIDECAR_ON_DENIED": "hold"})
    product.until(lambda: shown(product).startswith(("entitled", "denied")))
    found = templates.filled((templates.DIRECTORY / "gate-only.json").read_text())
    gate, worker = found["containerDefinitions"]
    gate |= {"image": image, "command": ["wait", "--url", "http://127.0.0.1:8484"]}
    worker |= {"image": image, "entryPoint": [PYTHON], "command": ["-c", PRODUCT]}
    with LocalTask(found, reach={8484: product.publish(8484)}, second=FAST) as task:
        if subscribed:
            runs(task)
            assert task.events[:3] == [f"{gate['name']} started", f"{gate['name']} exited 0", "app started"]
            return
        task.until_stopped()
        assert "app started" not in task.events
        assert task[gate["name"]].exit_code == 77
        assert task.stop_code == "TaskFailedToStart"
