"""Bedrock AgentCore Runtime: many records an hour, told apart by client token, and one container for both processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.billing.metered import Metered, Product, at, billed, marketplace
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each test starts a sidecar

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXECUTIONROLE", "AWS_SECRET_ACCESS_KEY": "secret"}
WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("product runs", flush=True)
time.sleep(600)
"""


AS_FIRST_PROCESS = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def agent(aws: Emulator, directory: Path, **given: str | None) -> Metered:
    """A sidecar as in a session of AgentCore: no pod, no task, the runtime's execution role."""
    more: dict[str, str | None] = {"SIDECAR_PLATFORM": "agentcore", "SIDECAR_ENTITLEMENT_CHECK": "meter_usage", **KEYS}
    gone = dict.fromkeys(("POD_UID", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"))
    made = Metered(aws, directory, **(more | gone | given))
    made.env.pop("POD_UID", None)
    return made


def set_clock(aws: Emulator, sidecar: Metered, instant: str) -> None:
    """Set the clock, and wait for a pass at that instant: what is pushed from then on is in its period."""
    aws.set_clock(now=at(instant))
    eventually(lambda: datetime.fromisoformat(sidecar.metering()["passed_at"]) >= at(instant), 40)


def settled_records(sidecar: Metered) -> list[dict[str, Any]]:
    return [one for one in sidecar.api("GET /v1/usage")[1]["records"] if one["state"] == "settled"]


def three(records: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The records, once there are three: AWS bills a record before the sidecar has read the answer."""
    return records if len(records) == 3 else None


@pytest.fixture
def aws(keys: SigningKeys) -> Iterator[Emulator]:
    with marketplace(keys) as found:
        found.behave(platform="agentcore")
        yield found


def test_usage_of_one_hour_is_in_several_records_that_add_up(aws: Emulator, tmp_path: Path) -> None:
    product = Product()
    with agent(aws, tmp_path).start() as sidecar:
        sidecar.ready()
        for seconds, quantity in ((0, 3), (20, 4), (40, 5)):
            set_clock(aws, sidecar, f"10:21:{seconds:02}")
            assert product.use(sidecar, quantity) == 200
        aws.set_clock(now=at("10:22"))
        eventually(lambda: billed(aws) == product.owed == 12, 40)
        settled = eventually(lambda: three(settled_records(sidecar)), 40)
    assert [one["quantity"] for one in settled] == ["3", "4", "5"]
    assert {one["hour"][:13] for one in settled} == {"2026-01-02T10"}
    assert len({one["hour"] for one in settled}) == 3


def test_a_heartbeat_counts_an_hour_of_the_clock_and_not_each_period(aws: Emulator, tmp_path: Path) -> None:
    with agent(aws, tmp_path, SIDECAR_SOURCES='[{"kind": "heartbeat", "dimension": "requests"}]').start() as sidecar:
        sidecar.ready()
        for instant in ("10:20:30", "10:30", "10:59:50", "11:00:20"):
            set_clock(aws, sidecar, instant)
            eventually(lambda: billed(aws) == 1, 40)
        eventually(lambda: sidecar.api("GET /v1/status")[1]["sources"][0]["counted"] == "2", 40)
        aws.set_clock(now=at("11:01"))
        eventually(lambda: billed(aws) == 2, 40)


def test_what_was_sent_before_a_crash_is_not_billed_again(aws: Emulator, tmp_path: Path) -> None:
    product = Product()
    aws.fault("MeterUsage", "drop_after", times=2)
    with agent(aws, tmp_path).start() as sidecar:
        sidecar.ready()
        assert product.use(sidecar, 7) == 200
        aws.set_clock(now=at("10:20:10"))
        eventually(lambda: billed(aws) == 7, 40)
        aws.set_clock(now=at("10:30"))
        sidecar.until_settled()
    assert billed(aws) == 7


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"SIDECAR_ENTITLEMENT_CHECK": "register_usage"}, "alone. Example: meter_usage"),
        ({"SIDECAR_DIMENSIONS": '[{"name": "requests", "aggregation": "max", "scope": "pod"}]'}, "use sum"),
        ({"SIDECAR_DIMENSIONS": '[{"name": "requests", "tags": ["team"]}]'}, "tags, which AWS does not take"),
        ({"SIDECAR_DIMENSIONS": '[{"name": "requests", "report_zero": true}]'}, "report_zero, which needs hours"),
    ],
    ids=["registration", "maximum", "tags", "zeros"],
)
def test_what_agentcore_has_not_is_refused_at_the_start(
    aws: Emulator, tmp_path: Path, given: dict[str, str], fault: str
) -> None:
    done = agent(aws, tmp_path, **given).command("run")
    assert done.returncode == 78
    assert fault in done.stderr
    assert "1 setting is wrong" in done.stderr, "the key that another check needs is not asked for"


def test_a_pod_is_not_taken_for_an_agent(aws: Emulator, tmp_path: Path) -> None:
    done = agent(aws, tmp_path).command("run", POD_UID="0d0c5f6e-8f0a-4d7e-9b0e-0a1b2c3d4e5f")
    assert done.returncode == 78
    assert "SIDECAR_PLATFORM: is 'agentcore', but this is a pod" in done.stderr


def test_a_ledger_of_hours_is_no_ledger_of_an_agent(aws: Emulator, tmp_path: Path) -> None:
    named = {"SIDECAR_WORKLOAD_ID": "vm-1"}
    with agent(aws, tmp_path, SIDECAR_PLATFORM=None, **named).start() as sidecar:
        sidecar.ready()
    with agent(aws, tmp_path, **named).start() as sidecar:
        assert sidecar.logged("ledger.failed")["reason"] == "ledger_of_another"
        assert Product().use(sidecar, 1) == 503


@contextmanager
def product_with_usage(aws: Emulator, directory: Path, before: Sequence[str] = ()) -> Iterator[Metered]:
    """Both processes, once the product runs and nine of it are acknowledged. `before`: what starts them."""
    both = agent(aws, directory)
    both.line = [*before, sys.executable, "-m", "sidecar", "exec", "--with-sidecar", "--", sys.executable, "-c", WAITS]
    with both.start():
        both.ready()
        eventually(lambda: "product runs" in both.text())
        assert Product().use(both, 9) == 200
        yield both


class TestWithSidecar:
    """`exec --with-sidecar`: one container, two processes."""

    def test_the_product_ends_first_and_the_last_usage_is_sent(self, aws: Emulator, tmp_path: Path) -> None:
        with product_with_usage(aws, tmp_path) as both:
            assert both.process is not None
            both.process.send_signal(signal.SIGTERM)
            assert both.ended() == 5
        assert billed(aws) == 9

    def test_a_denied_product_is_never_started(self, aws: Emulator, tmp_path: Path) -> None:
        aws.unsubscribe()
        aws.behave(dry_run_checks_subscription=True)
        both = agent(aws, tmp_path, SIDECAR_ON_DENIED="exit")
        done = both.command("exec", "--with-sidecar", "--", sys.executable, "-c", WAITS)
        assert done.returncode == 77
        assert "product runs" not in done.stdout
        assert "was not started" in done.stderr

    def test_a_sidecar_that_is_killed_comes_back_and_the_product_stays(self, aws: Emulator, tmp_path: Path) -> None:
        both = agent(aws, tmp_path)
        both.line = [sys.executable, "-m", "sidecar", "exec", "--with-sidecar", "--", sys.executable, "-c", WAITS]
        product = Product()
        with both.start():
            both.ready()
            assert product.use(both, 2) == 200
            eventually(lambda: "product runs" in both.text())
            kill_sidecar(both)
            eventually(lambda: "it is started again" in both.text())
            both.ready()
            assert both.text().count("product runs") == 1
            assert product.use(both, 3) == 200
        assert billed(aws) == 5

    @pytest.mark.parametrize("again", [False, True], ids=["before it is started again", "once it is"])
    def test_a_product_that_ends_after_a_killed_sidecar_is_billed(
        self, aws: Emulator, tmp_path: Path, again: bool
    ) -> None:
        with product_with_usage(aws, tmp_path) as both:
            kill_sidecar(both)
            if again:
                eventually(lambda: both.text().count('"sidecar.started"') == 2)
            assert both.process is not None
            both.process.send_signal(signal.SIGTERM)
            assert both.ended() == 5
        assert billed(aws) == 9

    @pytest.mark.parametrize("again", [False, True], ids=["before it is started again", "once it is"])
    def test_a_worker_that_outlives_its_sidecar_keeps_no_port_from_the_next(
        self, aws: Emulator, tmp_path: Path, again: bool
    ) -> None:
        with product_with_usage(aws, tmp_path) as both:
            master = sidecar_of(both)
            (worker,) = children_of(master)
            os.kill(worker, signal.SIGSTOP)
            os.kill(master, signal.SIGKILL)
            if again:
                eventually(lambda: both.text().count('"sidecar.started"') == 2)
            assert both.process is not None
            both.process.send_signal(signal.SIGTERM)
            assert both.ended() == 5
        assert billed(aws) == 9

    def test_as_the_first_process_it_reaps_a_worker_that_outlives_its_sidecar(
        self, aws: Emulator, tmp_path: Path
    ) -> None:
        if subprocess.run([*AS_FIRST_PROCESS, "true"], check=False, capture_output=True).returncode:
            pytest.skip("a namespace of processes needs root")
        with product_with_usage(aws, tmp_path, AS_FIRST_PROCESS) as both:
            assert both.process is not None
            (first,) = children_of(both.process.pid)
            leader = next(pid for pid in children_of(first) if os.getpgid(pid) == pid)
            (worker,) = children_of(leader)
            os.kill(worker, signal.SIGSTOP)
            os.kill(leader, signal.SIGKILL)
            eventually(lambda: both.text().count('"sidecar.started"') == 2)
            assert not os.path.exists(f"/proc/{worker}"), "killed, and reaped"
            os.kill(first, signal.SIGTERM)
            assert both.ended() == 5
        assert billed(aws) == 9

    @pytest.mark.parametrize(("times", "owed"), [(1, 9), (2, 9), (3, 0)], ids=["once", "twice", "three times"])
    def test_a_sidecar_killed_while_it_sends_the_last_usage_is_started_twice_more(
        self, aws: Emulator, tmp_path: Path, times: int, owed: int
    ) -> None:
        with product_with_usage(aws, tmp_path) as both:
            asked = len(aws.calls())
            aws.fault("MeterUsage", "hang", times=times)
            assert both.process is not None
            both.process.send_signal(signal.SIGTERM)
            for more in range(1, times + 1):
                eventually(lambda more=more: len(aws.calls()) == asked + more)
                kill_sidecar(both)
            assert both.ended() == 5
        assert both.text().count('"sidecar.started"') == min(times + 1, 3)
        assert billed(aws) == owed
        assert ("what it has not sent is in its ledger" in both.text()) is (owed == 0)

    def test_a_command_that_is_not_there_starts_nothing(self, aws: Emulator, tmp_path: Path) -> None:
        done = agent(aws, tmp_path).command("exec", "--with-sidecar", "--", "no-such-program")
        assert done.returncode == 127
        assert "sidecar.started" not in done.stdout

    def test_another_sidecar_cannot_be_named(self, aws: Emulator, tmp_path: Path) -> None:
        done = agent(aws, tmp_path).command("exec", "--with-sidecar", "--url", "http://x:8484", "--", "true")
        assert done.returncode == 2
        assert "leave out --url" in done.stderr


def kill_sidecar(both: Metered) -> None:
    """Kill the sidecar's processes, as a crash would: its session is its own."""
    os.killpg(sidecar_of(both), signal.SIGKILL)


def sidecar_of(both: Metered) -> int:
    """Return the process that leads the sidecar's session."""
    assert both.process is not None
    (leader,) = [pid for pid in children_of(both.process.pid) if os.getpgid(pid) == pid]
    return leader


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
