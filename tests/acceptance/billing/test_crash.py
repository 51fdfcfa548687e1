"""Killed at any point between a push and its receipt: what was acknowledged is billed, once and to the unit."""

from __future__ import annotations

import os
import random
import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import (
    SEALED_NOT_SENT,
    SLOW,
    Metered,
    Product,
    ask,
    at,
    billed,
    hours,
    none_too_early,
    refused_as_other,
    waiting,
)
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each test kills a sidecar and starts it again

FAULTS = ("", "", "drop_after", "drop_before", "slow", "InternalServiceErrorException")
LIVES = 5
SEEDS = int(os.environ.get("CRASH_SEEDS", "3"))
"""More of them for a night; each takes some ten seconds."""


def settled_in_the_end(aws: Emulator, sidecar: Metered, product: Product) -> None:
    """SIGTERM with AWS at hand: nothing waits, and the bill is what was acknowledged."""
    aws.clear_faults()
    aws.set_clock(speed=1)
    sidecar.told()
    assert sidecar.ended(SLOW) == 0
    assert waiting(sidecar) == 0, sidecar.text()
    assert billed(aws) == product.owed
    assert none_too_early(aws)
    assert refused_as_other(aws) == []


@pytest.mark.parametrize(
    ("seed", "lives"), [(1, 3), *(pytest.param(seed, LIVES, marks=pytest.mark.slow) for seed in range(1, SEEDS + 1))]
)
def test_killed_again_and_again_under_load_the_bill_is_what_was_acknowledged(
    aws: Emulator, tmp_path: Path, product: Product, seed: int, lives: int
) -> None:
    """Each life passes the end of an hour in about a second, and is cut off somewhere in it.

    The clock stands between two lives, so that no slow start makes an hour too old.
    """
    chance = random.Random(seed)
    current = [Metered(aws, tmp_path)]
    current[0].start().ready()
    with product.busy(lambda: current[0], seed):
        for life in range(lives):
            aws.clear_faults()
            if fault := chance.choice(FAULTS):
                aws.fault("MeterUsage", fault, times=1, seconds=0.3 if fault == "slow" else None)
            aws.set_clock(now=at(f"{10 + life}:59:40"), speed=900)
            time.sleep(chance.uniform(0.05, 1.4))  # the instant of the crash is the subject here
            aws.set_clock(speed=0)
            current[0].killed()
            following = current[0].again().start()
            if chance.random() < 0.25:
                time.sleep(chance.uniform(0.1, 0.5))  # and once more while it starts
                following.killed()
                following = following.again().start()
            following.ready()
            current[0] = following
    product.send_again(current[0])
    settled_in_the_end(aws, current[0], product)
    assert len(hours(aws)) > lives // 2, "several hours were billed"


TEAMS = '[{"name": "requests", "decimals": 2, "scale": "0.5", "tags": ["team"]}]'


@pytest.mark.slow
def test_across_kills_decimals_and_allocations_are_billed_exactly(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """Pushed with six decimals, halved, billed with two: what is below waits, and nothing is rounded away."""
    chance = random.Random(7)
    current = [Metered(aws, tmp_path, SIDECAR_DIMENSIONS=TEAMS)]
    current[0].start().ready()
    with product.busy(lambda: current[0], seed=7, teams=True):
        for life in range(3):
            aws.set_clock(now=at(f"{10 + life}:59:40"), speed=900)
            time.sleep(chance.uniform(0.3, 1.4))  # the instant of the crash is the subject here
            aws.set_clock(speed=0)
            current[0].killed()
            current[0] = current[0].again().start().ready()
    product.send_again(current[0])
    aws.set_clock(speed=1)
    current[0].told()
    assert current[0].ended(SLOW) == 0
    rest = waiting(current[0])
    assert 0 <= rest < Decimal("0.01")
    assert billed(aws) + rest == product.owed / 2
    for record in aws.usage_records():
        assert sum(one.quantity.value for one in record.allocations) == record.quantity
    assert refused_as_other(aws) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, SEEDS // 2 + 1))
def test_successive_workloads_on_one_volume_bill_everything_once(aws: Emulator, tmp_path: Path, seed: int) -> None:
    """Pods come and are killed; the next one adopts. An hour that was cut off while AWS answered waits for a
    person, billed or not; what was pushed and not acknowledged may be in or out.
    """
    chance = random.Random(seed)
    product, lives = Product(), []
    for life in range(4):
        sidecar = Metered(aws, tmp_path).start().ready()
        lives.append(sidecar)
        with product.busy(lambda sidecar=sidecar: sidecar, seed):  # type: ignore[misc]
            aws.set_clock(now=at(f"{10 + life}:59:40"), speed=900)
            time.sleep(chance.uniform(0.05, 1.4))  # the instant of the crash is the subject here
            aws.set_clock(speed=0)
            sidecar.killed()
    last = Metered(aws, tmp_path).start().ready()
    last.look()
    last.told()
    assert last.ended(SLOW) == 0
    left = sum((waiting(one) for one in (*lives, last)), Decimal(0))
    assert billed(aws) <= product.owed + product.doubtful
    assert billed(aws) + left >= product.owed
    assert waiting(last) == 0
    assert none_too_early(aws)
    assert refused_as_other(aws) == []


def test_a_push_that_was_not_acknowledged_and_is_sent_again_counts_once(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """It may have been on disk or not when the process died; its id tells."""
    sidecar = Metered(aws, tmp_path).start().ready()
    with product.busy(lambda: sidecar, clients=6):
        eventually(lambda: len(product.acknowledged) > 50)
        sidecar.killed()
        eventually(lambda: len(product.unanswered) == 6)
    again = sidecar.again().start().ready()
    known = dict(product.acknowledged)
    product.send_again(again)
    for name, quantity in known.items():
        assert product.use(again, str(quantity), name) == 200
    settled_in_the_end(aws, again, product)


@pytest.mark.slow
def test_an_id_billed_hours_ago_by_another_process_counts_once(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    assert product.use(sidecar, 7, "order-1") == 200
    aws.set_clock(now=at("11:10"))
    sidecar.logged("record.settled", SLOW)
    sidecar.killed()
    aws.set_clock(now=at("33:50"))
    again = sidecar.again().start().ready()
    assert product.use(again, 7, "order-1") == 200
    assert product.use(again, 8, "order-2") == 200
    event = {"dimension": "requests", "quantity": 9, "id": "order-1"}
    assert ask(again.api_port, "POST", "/v1/usage", event)[0] == 409
    settled_in_the_end(aws, again, product)
    assert hours(aws) == {"10": 7, "33": 8}


def test_killed_between_sealing_and_sending_the_hour_is_sent_after_the_restart(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11" + SEALED_NOT_SENT))
    sidecar.until_sealed("10:00")
    sidecar.killed()
    assert aws.usage_records() == []
    again = sidecar.again().start().ready()
    product.used(again, 5)
    aws.set_clock(now=at("11:10"))
    again.until_settled()
    assert hours(aws) == {"10": 7}
    assert again.events("hour.sealed") == [], "it was sealed once"
    settled_in_the_end(aws, again, product)
    assert hours(aws) == {"10": 7, "11": 5}


@pytest.mark.parametrize(("fault", "done"), [("hang", False), ("slow", True)])
def test_killed_while_aws_answers_the_same_request_is_sent_again(
    aws: Emulator, tmp_path: Path, product: Product, fault: str, done: bool
) -> None:
    """Whether AWS has billed it is not known; the repeat is identical, so it counts once."""
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", fault, times=1)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: aws.usage_records() if done else calls(aws), SLOW)
    sidecar.killed()
    assert billed(aws) == (7 if done else 0)
    again = sidecar.again().start().ready()
    again.until_settled()
    assert hours(aws) == {"10": 7}
    settled_in_the_end(aws, again, product)


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "missing_record_id", "empty_200", "html_503"])
def test_an_answer_that_is_lost_is_asked_for_again_and_counts_once(
    aws: Emulator, tmp_path: Path, product: Product, fault: str
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", fault, times=1)
    aws.set_clock(now=at("11:10"), speed=60)
    sidecar.until_sealed("10:00")
    eventually(lambda: len(calls(aws)) >= 2, SLOW)
    sidecar.until_settled()
    assert hours(aws) == {"10": 7}
    settled_in_the_end(aws, sidecar, product)


def calls(aws: Emulator) -> list[str]:
    return [call.answer for call in aws.calls() if call.operation == "MeterUsage"]


def test_killed_after_a_lost_answer_and_before_the_repeat_the_hour_counts_once(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", "drop_after", times=1)
    aws.set_clock(now=at("11:10"))
    sidecar.logged("record.held", SLOW)
    sidecar.killed()
    again = sidecar.again().start().ready()
    aws.set_clock(now=at("11:20"))
    again.until_settled()
    assert hours(aws) == {"10": 7}
    settled_in_the_end(aws, again, product)


@pytest.mark.parametrize("fault", ["hang", "slow"])
def test_only_the_child_that_sends_is_killed_and_the_hour_counts_once(
    aws: Emulator, tmp_path: Path, product: Product, fault: str
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", fault, times=1)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: aws.usage_records() if fault == "slow" else calls(aws), SLOW)
    os.kill(eventually(sidecar.sender), signal.SIGKILL)
    sidecar.logged("record.held", SLOW)
    assert sidecar.probe()[0] == 200
    aws.set_clock(now=at("11:20"))
    sidecar.until_settled()
    assert hours(aws) == {"10": 7}
    settled_in_the_end(aws, sidecar, product)


@pytest.mark.parametrize("fault", ["", "hang", "slow"])
def test_only_the_worker_is_killed_and_usage_before_and_after_is_billed_once(
    aws: Emulator, tmp_path: Path, product: Product, fault: str
) -> None:
    """Mid-hour, or while its child waits for AWS; the master starts another, and the gate stays open."""
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    if fault:
        aws.fault("MeterUsage", fault, times=1)
        aws.set_clock(now=at("11:10"))
        eventually(lambda: aws.usage_records() if fault == "slow" else calls(aws), SLOW)
    asked = len([call for call in aws.calls() if call.operation == "RegisterUsage"])
    first = sidecar.worker()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: sidecar.worker() != first, SLOW)
    eventually(lambda: sidecar.probe()[0] == 200)
    eventually(lambda: product.use(sidecar, 5, "after") == 200, SLOW)
    assert len([call for call in aws.calls() if call.operation == "RegisterUsage"]) == asked
    aws.set_clock(now=at("12:10"))
    eventually(lambda: billed(aws) == product.owed, SLOW)
    settled_in_the_end(aws, sidecar, product)
    assert hours(aws) == ({"10": 7, "11": 5} if fault else {"10": 12})


def test_a_worker_killed_under_load_loses_no_usage_that_was_acknowledged(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    with product.busy(lambda: sidecar):
        for _ in range(3):
            count = len(product.acknowledged)
            eventually(lambda count=count: len(product.acknowledged) > count + 30, SLOW)  # type: ignore[misc]
            first = eventually(sidecar.worker)
            os.kill(first, signal.SIGKILL)
            eventually(lambda first=first: sidecar.worker() != first, SLOW)  # type: ignore[misc]
    product.send_again(sidecar)
    settled_in_the_end(aws, sidecar, product)
    assert billed(aws) > Decimal(0)


def test_killed_while_it_flushes_the_restart_settles_the_rest(aws: Emulator, tmp_path: Path, product: Product) -> None:
    """Killed after SIGTERM, between the closed hour's answer and the running hour's."""
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11" + SEALED_NOT_SENT))
    sidecar.until_sealed("10:00")
    product.used(sidecar, 5)
    aws.fault("MeterUsage", "slow", times=1, seconds=0.2)
    aws.fault("MeterUsage", "slow", times=1, seconds=30)
    sidecar.told()
    eventually(lambda: billed(aws) == 12, SLOW)
    sidecar.killed()
    assert waiting(sidecar) == 5
    again = sidecar.again().start().ready()
    product.used(again, 3)
    again.until_settled()
    assert hours(aws) == {"10": 7, "11": 5}
    aws.set_clock(now=at("12:05"))
    settled_in_the_end(aws, again, product)
    assert hours(aws) == {"10": 7, "11": 5, "12": 3}
