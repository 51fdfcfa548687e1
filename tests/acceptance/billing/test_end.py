"""How metering ends and begins again: SIGTERM, restarts, neighbours on the volume, tasks that go on."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import (
    SEALED_NOT_SENT,
    SLOW,
    SLUGGISH,
    Metered,
    Product,
    at,
    billed,
    hours,
    none_too_early,
    problem,
    waiting,
)
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each starts processes

TASK = "arn:aws:ecs:us-east-1:123456789012:task/cluster/0123456789abcdef"
SPARE_SECONDS = 4.0
"""For a slow machine to end its processes, beyond the budget."""


def with_a_closed_hour(aws: Emulator, directory: Path, product: Product, **given: str) -> Metered:
    """7 in an hour that is sealed and not sent, 5 in the running one."""
    sidecar = Metered(aws, directory, **given).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11" + SEALED_NOT_SENT))
    sidecar.until_sealed("10:00")
    product.used(sidecar, 5)
    return sidecar


def ended_within(sidecar: Metered, seconds: float) -> float:
    """Tell it to end; how long that took."""
    began = time.monotonic()
    sidecar.told()
    assert sidecar.ended(seconds + 20) == 0
    taken = time.monotonic() - began
    assert taken < seconds + SPARE_SECONDS, sidecar.text()
    assert not sidecar.processes()
    return taken


def left_behind(sidecar: Metered) -> Decimal:
    return sum((Decimal(one["left"]["quantity"]) for one in sidecar.events("usage.left_behind")), Decimal(0))


# -- SIGTERM


def test_sigterm_settles_the_closed_hour_and_the_running_one(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product)
    ended_within(sidecar, 10)
    assert hours(aws) == {"10": 7, "11": 5}
    assert none_too_early(aws)
    assert [call.answer for call in aws.calls() if call.operation == "MeterUsage"] == ["ok", "ok"]
    assert sidecar.events("usage.left_behind") == []
    assert waiting(sidecar) == 0


@pytest.mark.parametrize("boots", [0, 1])
def test_sigterm_while_there_is_no_worker_settles_both_hours(
    aws: Emulator, tmp_path: Path, product: Product, boots: int
) -> None:
    """The worker is killed, and so many that replace it, while they start."""
    sidecar = with_a_closed_hour(aws, tmp_path, product)
    worker = sidecar.worker()
    for _ in range(boots):
        os.kill(worker, signal.SIGKILL)
        eventually(lambda before=worker: sidecar.worker() != before)  # type: ignore[misc]
        worker = sidecar.worker()
    os.kill(worker, signal.SIGKILL)
    ended_within(sidecar, 10)
    assert hours(aws) == {"10": 7, "11": 5}
    assert sidecar.events("usage.left_behind") == []


def test_a_product_that_ignores_sigterm_costs_no_usage(aws: Emulator, tmp_path: Path, product: Product) -> None:
    """The hook comes when the pod begins to end; SIGTERM, here, when its time is over."""
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_GRACE_SECONDS="6", SIDECAR_FLUSH_SECONDS="3")
    assert sidecar.command("pre-stop").returncode == 0
    eventually(lambda: hours(aws).get("10") == 7, SLOW)
    eventually(lambda: hours(aws).get("11") == 5, SLOW)
    eventually(lambda: sidecar.events("metering.stopped"), SLOW)
    refused = sidecar.command("report", "requests", "1")
    assert refused.returncode == 69
    assert "shutting_down" in refused.stderr
    assert sidecar.events("shutdown.forced")
    assert sidecar.probe("/healthz")[0] == sidecar.probe("/entitled")[0] == 200, "the product still runs"
    ended_within(sidecar, 3)
    assert sidecar.events("usage.left_behind") == []
    assert waiting(sidecar) == 0


def test_a_product_that_ends_after_the_hook_is_heard_to_the_last(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_GRACE_SECONDS="600")
    assert sidecar.command("pre-stop").returncode == 0
    eventually(lambda: hours(aws).get("10") == 7, SLOW)
    product.used(sidecar, 4)
    ended_within(sidecar, 10)
    assert hours(aws) == {"10": 7, "11": 9}
    assert sidecar.events("shutdown.forced") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_an_image_may_name_another_signal_to_stop_it(
    aws: Emulator, tmp_path: Path, product: Product, number: signal.Signals
) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product)
    sidecar.told(number)
    assert sidecar.ended(SLOW) == 0
    assert hours(aws) == {"10": 7, "11": 5}
    assert waiting(sidecar) == 0


def test_ctrl_c_reaches_master_and_worker_and_loses_nothing(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product)
    assert sidecar.process is not None
    os.killpg(sidecar.process.pid, signal.SIGINT)
    assert sidecar.ended(SLOW) == 0
    assert hours(aws) == {"10": 7, "11": 5}
    assert waiting(sidecar) == 0


def test_the_smallest_budget_is_kept_and_loses_nothing(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_FLUSH_SECONDS="1")
    aws.fault("MeterUsage", "slow", times=None, seconds=3)
    ended_within(sidecar, 1)
    assert waiting(sidecar) >= product.owed - billed(aws)
    aws.clear_faults()
    again = sidecar.again().start().ready()
    aws.set_clock(now=at("11:20"))
    again.until_settled()
    aws.set_clock(now=at("12:10"))
    eventually(lambda: billed(aws) == product.owed, SLOW)
    ended_within(again, 10)
    assert waiting(again) == 0


def test_pushes_are_accepted_until_the_last_seal_and_refused_after(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_FLUSH_SECONDS="20")
    aws.fault("MeterUsage", "slow", times=2, seconds=3)
    sidecar.told()
    eventually(lambda: billed(aws) == 7, SLOW)
    product.used(sidecar, 3)
    eventually(lambda: len(sidecar.events("hour.sealed")) == 2, SLOW)
    assert problem(sidecar) == (503, "shutting_down")
    assert sidecar.probe("/entitled")[0] == 200, "traffic is drained, not stopped"
    assert sidecar.ended(SLOW) == 0
    assert hours(aws) == {"10": 7, "11": 8}
    assert waiting(sidecar) == 0


def test_after_the_last_seal_no_other_worker_takes_usage(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_FLUSH_SECONDS="20")
    aws.fault("MeterUsage", "ThrottlingException", times=None)
    sidecar.told()
    eventually(lambda: len(sidecar.events("hour.sealed")) == 2, SLOW)
    assert problem(sidecar) == (503, "shutting_down")
    os.kill(sidecar.worker(), signal.SIGKILL)
    answers = []
    while "shutting_down" not in answers[-1:]:
        with suppress(OSError):
            answers.append(problem(sidecar)[1])
    aws.clear_faults()
    assert set(answers) <= {"workload_unknown", "shutting_down"}
    assert sidecar.ended(SLOW) == 0
    assert hours(aws) == {"10": 7, "11": 5}
    assert waiting(sidecar) == 0


def test_a_worker_that_finishes_for_another_says_in_time_what_is_left(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_FLUSH_SECONDS="4")
    aws.fault("MeterUsage", "ThrottlingException", times=None)
    os.kill(sidecar.worker(), signal.SIGKILL)
    ended_within(sidecar, 4)
    assert left_behind(sidecar) == waiting(sidecar) == product.owed


@pytest.mark.parametrize(
    "fault",
    ["ThrottlingException", *(pytest.param(one, marks=pytest.mark.slow) for one in ("hang", "drop_before"))],
)
def test_with_aws_away_the_end_comes_in_time_and_what_is_left_is_logged_whole(
    aws: Emulator, tmp_path: Path, product: Product, fault: str
) -> None:
    sidecar = with_a_closed_hour(aws, tmp_path, product, SIDECAR_FLUSH_SECONDS="6")
    aws.fault("MeterUsage", fault, times=None)
    ended_within(sidecar, 6)
    assert left_behind(sidecar) == waiting(sidecar) == product.owed
    entries = [one["left"] for one in sidecar.events("usage.left_behind")]
    assert {(one["hour"][11:13], one["quantity"], one["request"]["quantity"]) for one in entries} == {
        ("10", "7", "7"),
        ("11", "5", "5"),
    }
    aws.clear_faults()
    again = sidecar.again().start().ready()
    aws.set_clock(now=at("11:20"))
    again.until_settled()
    ended_within(again, 10)
    assert hours(aws) == {"10": 7, "11": 5}


def test_sigterm_during_a_hung_submission_still_seals_the_running_hour(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """The child that hangs began before SIGTERM: it may not use up the budget."""
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", "hang", times=1)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: [call for call in aws.calls() if call.operation == "MeterUsage"], SLOW)
    product.used(sidecar, 5)
    ended_within(sidecar, 10)
    assert hours(aws) == {"10": 7, "11": 5}
    assert waiting(sidecar) == 0


@pytest.mark.parametrize(
    "fault",
    [
        "ThrottlingException",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("drop_before", "InternalServiceErrorException")),
    ],
)
def test_one_passing_fault_during_the_flush_is_asked_again_inside_the_budget(
    aws: Emulator, tmp_path: Path, product: Product, fault: str
) -> None:
    """On a volume that dies with the pod, what is left behind is billed by a person only."""
    aws.set_clock(speed=1)
    sidecar = Metered(aws, tmp_path, SIDECAR_FLUSH_SECONDS="15").start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", fault, times=1)
    ended_within(sidecar, 15)
    assert hours(aws) == {"10": 7}
    assert waiting(sidecar) == 0


def test_under_load_every_push_that_was_acknowledged_before_the_end_is_billed(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    with product.busy(lambda: sidecar, clients=5):
        eventually(lambda: len(product.acknowledged) > 100, SLOW)
        ended_within(sidecar, 10)
    assert billed(aws) == product.owed
    assert waiting(sidecar) == 0


@pytest.mark.parametrize("twice", [False, True])
def test_a_signal_for_all_its_processes_bills_everything_too(
    aws: Emulator, tmp_path: Path, product: Product, twice: bool
) -> None:
    """`tini -g` and some supervisors tell the whole group, the child that is sending among it."""
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", "slow", times=1, seconds=5)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: billed(aws) == 7, SLOW)
    product.used(sidecar, 5)
    assert sidecar.process is not None
    os.killpg(sidecar.process.pid, signal.SIGTERM)
    if twice:
        eventually(lambda: len(sidecar.events("hour.sealed")) == 2, SLOW)
        os.killpg(sidecar.process.pid, signal.SIGTERM)
    assert sidecar.ended(SLOW) == 0
    assert billed(aws) + waiting(sidecar) == product.owed
    again = sidecar.again().start().ready()
    aws.set_clock(now=at("11:20"))
    again.until_settled()
    ended_within(again, 10)
    assert hours(aws) == {"10": 7, "11": 5}


def test_interrupted_at_a_terminal_nothing_is_lost(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    assert sidecar.process is not None
    os.killpg(sidecar.process.pid, signal.SIGINT)
    sidecar.ended(SLOW)
    eventually(lambda: not sidecar.processes())
    assert billed(aws) + waiting(sidecar) == 7
    again = sidecar.again().start().ready()
    aws.set_clock(now=at("11:10"))
    eventually(lambda: billed(aws) == 7, SLOW)
    ended_within(again, 10)


SLOW_DELAYS = (0.0, 0.02, 0.05, 0.08, 0.15, 0.2, 0.3, 0.5, 0.8)


@pytest.mark.parametrize("delay", [0.1, *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW_DELAYS)])
def test_told_to_end_while_it_starts_nothing_is_lost(
    aws: Emulator, tmp_path: Path, product: Product, delay: float
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    sidecar.killed()
    hurried = sidecar.again().start()
    eventually(hurried.listens, SLOW)
    time.sleep(delay)  # the instant of the signal is the subject here
    ended_within(hurried, 10)
    again = sidecar.again().start().ready()
    ended_within(again, 10)
    assert hours(aws) == {"10": 7}
    assert waiting(again) == 0


def disk(directory: Path, flag: Path, micros: int | None = None) -> dict[str, str]:
    """The environment in which every fsync drags, or hangs, while `flag` exists."""
    source, shim = directory / "sluggish.c", directory / "sluggish.so"
    source.write_text(SLUGGISH)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    slow = {"DRAG_MICROS": str(micros)} if micros else {}
    return {"LD_PRELOAD": str(shim), "DRAG_FILE": str(flag), **slow}


def on_such_a_disk(sidecar: Metered, more: dict[str, str]) -> Metered:
    sidecar.env |= more
    return sidecar


@pytest.mark.skipif(shutil.which("cc") is None, reason="a slow disk is played by a C shim")
def test_on_a_slow_disk_the_end_comes_in_time_and_nothing_is_lost(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """A quarter of a second for each fsync, a few for each step of the flush."""
    flag = tmp_path / "slow"
    sidecar = on_such_a_disk(Metered(aws, tmp_path), disk(tmp_path, flag, 250_000)).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11" + SEALED_NOT_SENT))
    sidecar.until_sealed("10:00")
    product.used(sidecar, 5)
    flag.touch()
    ended_within(sidecar, 10)
    assert billed(aws) + waiting(sidecar) == product.owed
    assert left_behind(sidecar) == waiting(sidecar)


@pytest.mark.skipif(shutil.which("cc") is None, reason="a stuck disk is played by a C shim")
def test_on_a_stuck_disk_the_end_comes_in_time_and_nothing_is_lost(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    flag = tmp_path / "stuck"
    sidecar = on_such_a_disk(Metered(aws, tmp_path, SIDECAR_FLUSH_SECONDS="3"), disk(tmp_path, flag)).start().ready()
    product.used(sidecar, 7)
    flag.touch()
    began = time.monotonic()
    sidecar.told()
    sidecar.ended(SLOW)
    assert time.monotonic() - began < 3 + SPARE_SECONDS
    eventually(lambda: not sidecar.processes())
    flag.unlink()
    assert waiting(sidecar) == product.owed
    again = sidecar.again().start().ready()
    ended_within(again, 10)
    assert hours(aws) == {"10": 7}


@pytest.mark.skipif(shutil.which("cc") is None, reason="a stuck disk is played by a C shim")
def test_a_disk_that_sticks_stops_no_traffic_and_loses_nothing(aws: Emulator, tmp_path: Path, product: Product) -> None:
    flag = tmp_path / "stuck"
    sidecar = on_such_a_disk(Metered(aws, tmp_path), disk(tmp_path, flag)).start().ready()
    product.used(sidecar, 7)
    flag.touch()
    with product.busy(lambda: sidecar):
        eventually(lambda: sidecar.probe("/readyz")[0] == 503, SLOW)
        assert sidecar.probe("/entitled")[0] == 200
        assert sidecar.probe("/healthz")[0] == 200
        flag.unlink()
        eventually(lambda: sidecar.probe("/readyz")[0] == 200, SLOW)
    product.send_again(sidecar)
    ended_within(sidecar, 10)
    assert billed(aws) == product.owed
    assert waiting(sidecar) == 0


# -- the same workload again


def test_restarted_within_the_hour_the_rest_of_it_is_billed_in_the_next(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    ended_within(sidecar, 10)
    assert hours(aws) == {"10": 7}
    again = sidecar.again().start().ready()
    product.used(again, 5)
    ended_within(again, 10)
    assert hours(aws) == {"10": 7}, "AWS holds this hour's quantity; another one would be disputed"
    assert left_behind(again) == waiting(again) == 5
    third = sidecar.again().start().ready()
    product.used(third, 3)
    aws.set_clock(now=at("12:10"))
    eventually(lambda: billed(aws) == product.owed, SLOW)
    assert hours(aws) == {"10": 7, "11": 8}
    ended_within(third, 10)


def test_a_restart_before_the_first_opening_keeps_all_and_sends_nothing(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    aws.unsubscribe()
    sidecar = Metered(aws, tmp_path).start()
    sidecar.shows("denied")
    sidecar.takes_usage()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11:10"))
    sidecar.until_sealed("10:00")
    ended_within(sidecar, 10)
    assert [call for call in aws.calls() if call.operation == "MeterUsage"] == []
    assert left_behind(sidecar) == waiting(sidecar) == 7
    aws.subscribe()
    again = sidecar.again().start().ready()
    again.until_settled()
    assert hours(aws) == {"10": 7}
    ended_within(again, 10)


# -- neighbours on the volume


def test_two_living_workloads_on_one_volume_bill_each_its_own(aws: Emulator, tmp_path: Path, product: Product) -> None:
    first = Metered(aws, tmp_path).start().ready()
    product.used(first, 7)
    second = Metered(aws, tmp_path).start().ready()
    product.used(second, 5)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: billed(aws) == 12, SLOW)
    for sidecar in (first, second):
        ended_within(sidecar, 10)
    assert (hours(aws, first.pod), hours(aws, second.pod)) == ({"10": 7}, {"10": 5})


def test_what_a_dead_workload_left_on_the_volume_is_adopted_and_billed_once(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    dead = Metered(aws, tmp_path).start().ready()
    product.used(dead, 7)
    aws.set_clock(now=at("11" + SEALED_NOT_SENT))
    dead.until_sealed("10:00")
    product.used(dead, 5)
    dead.killed()
    heir = Metered(aws, tmp_path).start().ready()
    assert heir.logged("usage.adopted", SLOW)["quantities"] == {"requests": "12"}
    product.used(heir, 3)
    ended_within(heir, 10)
    assert hours(aws) == {"11": 15}
    assert waiting(dead) == waiting(heir) == 0


def test_a_workload_that_dies_beside_a_living_one_is_adopted_at_once(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    first = Metered(aws, tmp_path).start().ready()
    second = Metered(aws, tmp_path).start().ready()
    product.used(first, 7)
    product.used(second, 2)
    first.killed()
    assert second.logged("usage.adopted", SLOW)["quantities"] == {"requests": "7"}
    aws.set_clock(now=at("11:30"))
    ended_within(second, 10)
    assert hours(aws) == {"10": 9}
    assert waiting(first) == waiting(second) == 0


def test_a_workload_does_not_bill_again_what_another_has_adopted(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    dead = Metered(aws, tmp_path).start().ready()
    product.used(dead, 7)
    dead.killed()
    heir = Metered(aws, tmp_path).start().ready()
    heir.logged("usage.adopted", SLOW)
    heir.killed()
    back = dead.again().start().ready()
    product.used(back, 2)
    ended_within(back, 10)
    last = heir.again().start().ready()
    ended_within(last, 10)
    assert billed(aws) == product.owed
    assert waiting(back) == waiting(last) == 0


def test_an_id_of_a_dead_workload_counts_once_in_its_successor(aws: Emulator, tmp_path: Path, product: Product) -> None:
    """A StatefulSet's pod comes back with another uid on the same volume; its product sends again what it was not sure
    of.
    """
    dead = Metered(aws, tmp_path).start().ready()
    assert product.use(dead, 7, "order-1") == 200
    dead.killed()
    heir = Metered(aws, tmp_path).start().ready()
    heir.logged("usage.adopted", SLOW)
    assert product.use(heir, 7, "order-1") == 200
    ended_within(heir, 10)
    assert billed(aws) == product.owed == 7


def test_an_hour_whose_answer_was_lost_with_its_workload_is_left_to_a_person(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """AWS may have billed it, and has: adopting it would bill it twice."""
    dead = Metered(aws, tmp_path).start().ready()
    product.used(dead, 7)
    aws.fault("MeterUsage", "slow", times=1)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: billed(aws) == 7, SLOW)
    dead.killed()
    heir = Metered(aws, tmp_path).start().ready()
    product.used(heir, 3)
    ended_within(heir, 10)
    assert hours(aws) == {"10": 7, "11": 3}
    assert billed(aws) == product.owed
    assert waiting(dead) == 7, "rejected there, for a person"


def test_a_heir_killed_while_it_adopts_bills_the_dead_workloads_usage_once(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """Cut off at several points of the start; the next one goes on where it was."""
    dead = Metered(aws, tmp_path).start().ready()
    product.used(dead, 7)
    dead.killed()
    heir = Metered(aws, tmp_path)
    for delay in (0.3, 0.4, 0.5, 0.6, 0.8):
        heir.start()
        time.sleep(delay)  # the instant of the crash is the subject here
        heir.killed()
    heir.start().ready()
    ended_within(heir, 10)
    assert billed(aws) == product.owed == 7
    assert waiting(dead) == waiting(heir) == 0


# -- ECS


@contextmanager
def ecs_agent() -> Iterator[tuple[str, dict[str, object]]]:
    """The endpoints of an ECS agent, and the task document they show."""
    task: dict[str, object] = {"TaskARN": TASK, "Cluster": "c", "LaunchType": "FARGATE", "DesiredStatus": "RUNNING"}
    credentials = {
        "AccessKeyId": "ASIATASK",
        "SecretAccessKey": "secret",
        "Token": "session",
        "Expiration": "2126-01-01T00:00:00Z",
        "RoleArn": "arn:aws:iam::123456789012:role/task",
    }
    answers = {"/v4/me/task": task, "/credentials": credentials}

    class Agent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", task
    finally:
        server.shutdown()
        server.server_close()


def in_a_task(aws: Emulator, directory: Path, agent: str) -> Metered:
    sidecar = Metered(aws, directory, AWS_ROLE_ARN=None, AWS_WEB_IDENTITY_TOKEN_FILE=None, AWS_REGION=None)
    del sidecar.env["POD_UID"]
    sidecar.env |= {
        "ECS_CONTAINER_METADATA_URI_V4": f"{agent}/v4/me",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent}/credentials",
    }
    sidecar.pod = TASK
    return sidecar


def test_where_the_task_goes_on_the_running_hour_stays_open(aws: Emulator, tmp_path: Path, product: Product) -> None:
    with ecs_agent() as (agent, _):
        sidecar = in_a_task(aws, tmp_path, agent).start().ready()
        product.used(sidecar, 7)
        aws.set_clock(now=at("11" + SEALED_NOT_SENT))
        sidecar.until_sealed("10:00")
        product.used(sidecar, 5)
        ended_within(sidecar, 10)
        assert hours(aws) == {"10": 7}
        assert left_behind(sidecar) == waiting(sidecar) == 5
        again = in_a_task(aws, tmp_path, agent).start().ready()
        product.used(again, 2)
        aws.set_clock(now=at("12:10"))
        eventually(lambda: billed(aws) == product.owed, SLOW)
        assert hours(aws) == {"10": 7, "11": 7}
        ended_within(again, 10)


def test_where_the_task_stops_the_running_hour_is_sealed_and_sent(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    with ecs_agent() as (agent, task):
        sidecar = in_a_task(aws, tmp_path, agent).start().ready()
        product.used(sidecar, 7)
        task["DesiredStatus"] = "STOPPED"
        ended_within(sidecar, 10)
        assert hours(aws) == {"10": 7}
        assert sidecar.events("usage.left_behind") == []


def test_where_the_task_metadata_is_gone_at_the_end_the_running_hour_is_sent(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    with ecs_agent() as (agent, task):
        sidecar = in_a_task(aws, tmp_path, agent).start().ready()
        product.used(sidecar, 7)
        task.clear()
        ended_within(sidecar, 10)
        assert hours(aws) == {"10": 7}
