"""A workload ends: its last hour is sealed, nothing more is taken, and what is left is logged in full."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.push_group import PushResult
from sidecar.metering.records import UsageRecord
from tests.fakes.faults import raising
from tests.integration.ledger.support import HOUR, NOON, Story, accepted, audit_copy, balanced, event, held_back, make

SOON = HOUR.end + timedelta(minutes=1)


def end(ledger: Ledger, story: Story) -> tuple[UsageRecord, ...]:
    return ledger.seal_last(HOUR, story.now, make(story.now))


def refused(result: PushResult) -> tuple[int, str] | None:
    return (result.status, result.reason) if isinstance(result, PushRefused) else None


def test_the_running_hour_is_sealed_and_stamped_now(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="7"))
    (record,) = end(ledger, story)
    assert record.request is not None
    assert record.request.timestamp == int(NOON.timestamp())
    assert ledger.due(story.now) == (record,)
    assert end(ledger, story) == (), "sealed once"
    assert balanced(ledger)


def test_after_the_last_seal_pushes_are_refused_and_a_restart_takes_them(story: Story) -> None:
    ledger = story.open()
    end(ledger, story)
    assert refused(story.push(ledger, event(id="a"))) == (503, "shutting_down")
    assert accepted(ledger) == 0
    story.close()
    assert refused(story.push(ledger, event(id="a"))) == (503, "shutting_down")
    assert story.push(story.open(), event(id="a")) == PushAccepted(accepted=1, duplicates=0)


def test_a_push_queued_before_the_last_seal_is_in_and_a_later_one_is_not(story: Story) -> None:
    ledger = story.open()
    go, results = held_back(ledger), dict[str, PushResult]()
    ledger.begin_push([event(quantity="2")], NOON, lambda result: results.__setitem__("before", result))
    sealed: list[UsageRecord] = []
    sealer = threading.Thread(target=lambda: sealed.extend(end(ledger, story)))
    sealer.start()
    while len(ledger._writer._queue._jobs) < 2:
        pass
    ledger.begin_push([event(quantity="3")], NOON, lambda result: results.__setitem__("behind", result))
    go.set()
    sealer.join(10)
    ledger.balances()
    assert results["before"] == PushAccepted(accepted=1, duplicates=0)
    assert refused(results["behind"]) == (503, "shutting_down")
    assert [record.quantity for record in sealed] == [2]


def test_a_last_seal_that_fails_stops_nothing(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())

    with pytest.raises(ZeroDivisionError):
        ledger.seal_last(HOUR, story.now, raising(ZeroDivisionError))
    assert story.push(ledger, event(at=SOON)) == PushAccepted(accepted=1, duplicates=0)
    assert len(ledger.open_hours()) == 2
    assert balanced(ledger)


def test_an_earlier_hour_is_sealed_with_the_last_and_keeps_its_own_usage(story: Story) -> None:
    ledger = story.open()
    later = HOUR.end + timedelta(minutes=58)
    story.push(ledger, event(quantity="2"), event(at=later, quantity="3"), event(at=HOUR.next.end, quantity="4"))
    found = ledger.seal_last(HOUR.next, later, make(later))
    assert [(one.hour, one.quantity) for one in found] == [(HOUR, 2), (HOUR.next, 7)]
    assert balanced(ledger)


def test_sums_of_the_next_hour_go_into_the_last_record_with_their_tags(story: Story) -> None:
    ledger = story.open()
    tags = (("tenant", "x"),)
    story.push(ledger, event("gigabytes", "1000"), event("gigabytes", "500.5", at=SOON, tags=tags), event(at=SOON))
    gigabytes, requests = sorted(end(ledger, story), key=lambda record: record.dimension)
    assert (gigabytes.quantity, requests.quantity) == (Decimal("1.5"), 1)
    assert gigabytes.request is not None
    assert [(one.tags, one.quantity) for one in gigabytes.request.allocations] == [((), 1), (tags, Decimal("0.5"))]
    assert ledger.open_hours() == ()
    assert balanced(ledger)
    line = json.loads(audit_copy(ledger)[0])
    assert [one["why"] for one in line["rolled_from"]] == ["workload_ended"]


def test_values_of_the_next_hour_that_do_not_add_up_stay_open(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event("peak", "5"), event("peak", "9", at=SOON), event("users", key="x", at=SOON))
    assert [record.quantity for record in end(ledger, story)] == [5]
    assert ledger.open_hours() == (HOUR.next,)
    left = [(one["dimension"], one["quantity"]) for one in ledger.unsettled() if one["left"] == "open"]
    assert left == [("peak", "9"), ("users", "1")]
    assert balanced(ledger)


def test_an_hour_sealed_before_leaves_later_sums_where_they_are(story: Story) -> None:
    ledger = story.open()
    story.seal(ledger)
    story.push(ledger, event())
    assert end(ledger, story) == ()
    assert ledger.open_hours() == (HOUR.next,)
    assert refused(story.push(ledger, event())) == (503, "shutting_down")


def test_pushes_can_be_stopped_and_the_hour_stays_open(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    ledger.stop_pushes()
    ledger.stop_pushes()
    assert refused(story.push(ledger, event())) == (503, "shutting_down")
    assert ledger.open_from() == HOUR
    assert len(end(ledger, story)) == 1, "the rest of the ledger goes on"
    ledger.close()
    ledger.stop_pushes()


def test_pushes_can_be_stopped_while_the_disk_fails(story: Story) -> None:
    ledger = story.open()
    ledger._writer._connection.execute("PRAGMA query_only = ON")  # type: ignore[union-attr]
    with pytest.raises(LedgerError):
        ledger.check(story.now)
    ledger.stop_pushes()
    assert refused(story.push(ledger, event())) == (503, "shutting_down")
