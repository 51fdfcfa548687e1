"""Usage that waits for a far hour is found; an hour that was rightly sealed early is not one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sidecar.metering.hours import Hour
from sidecar.metering.postponed import Postponed, postponed
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.sealed_request import seal_request
from sidecar.metering.states import State

NOW = datetime(2026, 1, 2, 10, 20, tzinfo=UTC)
HERE = Hour.at(NOW)
FAR = Hour.at(NOW + timedelta(days=3652))
FIVE = {"requests": Decimal(5)}


def sealed(hour: Hour, quantity: int = 3) -> UsageRecord:
    owed = Owed(quantity=Decimal(quantity), allocations=(), carry=Decimal(0), merged=0)
    request = seal_request("pod-1", "product", "requests", 0, hour, owed, hour.end)
    return UsageRecord(
        hour=hour, dimension="requests", state=State.SEALED, quantity=owed.quantity, request=request, retry_at=hour.end
    )


def test_usage_in_an_hour_that_lies_ahead_is_postponed() -> None:
    assert postponed(FAR, FIVE, (), NOW) == Postponed(open_hour=FAR, quantities=FIVE)
    assert postponed(HERE.next.next, FIVE, (), NOW) is not None


def test_what_the_clock_sealed_while_it_was_ahead_is_postponed_too() -> None:
    found = postponed(FAR, FIVE, (sealed(FAR.previous), sealed(HERE.previous)), NOW)
    assert found is not None
    assert found.quantities == {"requests": Decimal(8)}, "and not what is only waiting for AWS"


@pytest.mark.parametrize("hour", [HERE.previous, HERE, HERE.next])
def test_the_running_hour_and_the_next_are_no_delay(hour: Hour) -> None:
    assert postponed(hour, FIVE, (), NOW) is None


def test_an_hour_ahead_without_usage_delays_nothing() -> None:
    assert postponed(FAR, {"requests": Decimal(0)}, (sealed(HERE.previous), sealed(FAR.previous, 0)), NOW) is None
