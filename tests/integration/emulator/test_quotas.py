"""AWS's published quotas are kept where that is ordered, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.quotas import PUBLISHED, Quotas
from sidecar.emulator.refusals import BadCommand, Refusal
from tests.integration.emulator.conftest import Aws, code, metered, register

OPERATIONS: dict[str, Callable[[str], str]] = {
    "RegisterUsage": lambda url: code(lambda: register(url)),
    "MeterUsage": lambda url: metered(url, DryRun=True),
}
SLOW = 0.02
"""Times the quota: fills so slowly that a slow machine's calls do not find it full again."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_calls_above_a_kept_quota_are_throttled(emulator: Aws, operation: str) -> None:
    aws = emulator(behaviour=Behaviour(quotas=SLOW))
    answers = Counter(OPERATIONS[operation](aws.url) for _ in range(3))
    assert answers["ThrottlingException"] == 2


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_the_order_nothing_is_throttled(aws: Emulator, operation: str) -> None:
    answers = Counter(OPERATIONS[operation](aws.url) for _ in range(12))
    assert answers["ThrottlingException"] == 0


def test_the_quota_of_one_operation_is_not_anothers(emulator: Aws) -> None:
    aws = emulator(behaviour=Behaviour(quotas=SLOW))
    assert [ask(aws.url) for ask in OPERATIONS.values()] == ["ok", "DryRunOperation"]


def test_a_quota_is_ordered_and_ended_while_it_runs(aws: Emulator) -> None:
    aws.behave(quotas=SLOW)
    assert [code(lambda: register(aws.url)) for _ in range(2)] == ["ok", "ThrottlingException"]
    aws.behave(quotas=0)
    assert code(lambda: register(aws.url)) == "ok"


def test_a_negative_quota_is_refused(aws: Emulator) -> None:
    with pytest.raises(BadCommand, match="quotas: must not be negative"):
        aws.behave(quotas=-1)


class Buckets:
    """Quotas under a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.quotas = Quotas(lambda: self.now)

    def taken(self, calls: int, operation: str = "RegisterUsage", *, times: float = 1, **whose: Any) -> int:
        """How many of these calls are not throttled."""
        account, region = whose.get("account", "1"), whose.get("region", "us-east-1")
        return sum(self._passes(account, region, operation, times) for _ in range(calls))

    def _passes(self, *call: Any) -> bool:
        try:
            self.quotas.check(*call)
        except Refusal:
            return False
        return True


@pytest.mark.parametrize(("operation", "rate"), PUBLISHED.items())
def test_a_bucket_holds_one_second_and_fills_at_the_rate(operation: str, rate: float) -> None:
    buckets = Buckets()
    assert buckets.taken(100, operation) == rate
    buckets.now += 0.6
    assert buckets.taken(100, operation) == int(0.6 * rate)
    buckets.now += 3600
    assert buckets.taken(100, operation) == rate


def test_a_raised_quota_is_kept_in_proportion() -> None:
    assert Buckets().taken(100, times=10) == 50


@pytest.mark.parametrize("whose", [{"account": "2"}, {"region": "eu-west-1"}])
def test_another_account_or_region_has_its_own_bucket(whose: dict[str, str]) -> None:
    buckets = Buckets()
    buckets.taken(100)
    assert (buckets.taken(1), buckets.taken(1, **whose)) == (0, 1)


@pytest.mark.parametrize("operation", ["ResolveCustomer", "GetEntitlements"])
def test_what_has_no_published_quota_is_not_throttled(operation: str) -> None:
    assert Buckets().taken(1000, operation) == 1000
