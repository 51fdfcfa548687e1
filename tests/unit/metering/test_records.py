"""A record moves without an answer only as the table allows, and is repaired at most once in each way."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord, repaired, rolled_forward, sent_again
from sidecar.metering.rollup import Allocation, Owed
from sidecar.metering.sealed_request import (
    Repair,
    client_token,
    seal_request,
)
from sidecar.metering.states import IllegalTransition, State
from sidecar.quick_dataclasses import replace

HOUR = Hour.numbered(498_658)
SPLIT = (Allocation(tags=(), quantity=Decimal(2)), Allocation(tags=(("tenant", "a"),), quantity=Decimal(5)))
OWED = Owed(quantity=Decimal(7), allocations=SPLIT, carry=Decimal(0), merged=0)
REQUEST = seal_request("pod-1", "code", "requests", 0, HOUR, OWED, HOUR.end)
RECORD = UsageRecord(hour=HOUR, dimension="requests", state=State.SEALED, quantity=Decimal(7), request=REQUEST)
NOW = HOUR.end + timedelta(minutes=5)


def test_a_record_counted_later_says_where() -> None:
    moved_on = rolled_forward(replace(RECORD, state=State.EXPIRED, retry_at=NOW), HOUR.next)
    assert (moved_on.state, moved_on.rolled_to, moved_on.retry_at) == (State.ROLLED_FORWARD, HOUR.next, None)
    with pytest.raises(IllegalTransition):
        rolled_forward(moved_on, HOUR.next)
    with pytest.raises(IllegalTransition):
        rolled_forward(RECORD, HOUR.next)


@pytest.mark.parametrize("state", [State.REJECTED, State.DISPUTED])
def test_a_person_may_have_a_record_sent_again(state: State) -> None:
    again = sent_again(replace(RECORD, state=state), NOW)
    assert (again.state, again.retry_at) == (State.SEALED, NOW)


@pytest.mark.parametrize("state", [State.OPEN, State.SEALED, State.SETTLED, State.EXPIRED, State.ROLLED_FORWARD])
def test_what_waits_or_is_done_is_not_sent_again(state: State) -> None:
    with pytest.raises(IllegalTransition):
        sent_again(replace(RECORD, state=state), NOW)


def test_a_repair_changes_neither_hour_nor_quantity_and_has_its_own_token() -> None:
    mended = repaired(RECORD, Repair.WITHOUT_ALLOCATIONS, "pod-1")
    assert mended.request is not None
    assert mended.request.allocations == ()
    assert (mended.request.timestamp, mended.request.quantity) == (REQUEST.timestamp, REQUEST.quantity)
    assert mended.request.client_token == client_token("pod-1", "code", "requests", HOUR, 1)
    assert mended.state is State.SEALED


def test_two_repairs_have_two_tokens_and_no_repair_is_made_twice() -> None:
    once = repaired(RECORD, Repair.NEW_TOKEN, "pod-1")
    assert once.request is not None
    assert once.request.allocations == REQUEST.allocations
    twice = repaired(once, Repair.WITHOUT_ALLOCATIONS, "pod-1")
    assert twice.request is not None
    assert len({one.client_token for one in (REQUEST, once.request, twice.request)}) == 3
    with pytest.raises(IllegalTransition):
        repaired(twice, Repair.NEW_TOKEN, "pod-1")


@pytest.mark.parametrize("repair", [Repair.FEWER_ALLOCATIONS, Repair.WITHOUT_ALLOCATIONS])
def test_a_split_that_is_not_there_is_not_repaired(repair: Repair) -> None:
    whole = seal_request("pod-1", "code", "requests", 0, HOUR, replace(OWED, allocations=()), HOUR.end)
    with pytest.raises(IllegalTransition):
        repaired(replace(RECORD, request=whole), repair, "pod-1")
