"""What sources were last read to be is on disk with what it led to, or neither is."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

from sidecar.ledger.ledger import Ledger
from sidecar.ledger.pushes import PushRequest
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.push_group import PushResult
from sidecar.metering.readings import Reading
from tests.integration.ledger.support import NOON, Story, accepted, event, raw_connection

MOST = "9999999999.999999"


def reading(value: str, series: str = "[]", rest: str = "0") -> Reading:
    return Reading(series=series, value=Decimal(value), at=NOON, rest=Decimal(rest), note="12.5")


def push(ledger: Ledger, events: list[UsageEvent], *read: Reading, source: str = "a") -> PushResult:
    results: list[PushResult] = []
    ledger.begin_request(PushRequest(events, NOON, source, read), NOON, results.append)
    ledger.commit_pending()
    ledger.readings(source)  # behind it in the queue
    return results[0]


def test_a_reading_is_there_after_a_restart_with_what_it_led_to(story: Story) -> None:
    given = (reading("0.30000000000000004", rest="0.00000000000000004"), reading("7", series='[["a","ü"]]'))
    push(story.open(), [event(quantity="0.3")], *given)
    story.close()
    ledger = story.open()
    assert ledger.readings("a") == {one.series: one for one in given}
    assert accepted(ledger) == Decimal("0.3")
    assert ledger.readings("b") == {}


def test_a_reading_replaces_the_one_before(story: Story) -> None:
    ledger = story.open()
    push(ledger, [], reading("1"))
    push(ledger, [], reading("2"))
    assert ledger.readings("a") == {"[]": reading("2")}


def test_a_push_that_is_refused_keeps_no_reading(story: Story) -> None:
    ledger = story.open()
    push(ledger, [event(id="x")], reading("1"))
    result = push(ledger, [event(id="x", quantity="2")], reading("2"))
    assert isinstance(result, PushRefused)
    assert result.status == 409
    result = push(ledger, [event(quantity=MOST)] * 1000, reading("3"))
    assert isinstance(result, PushRefused)
    assert result.status == 422
    ledger.stop_pushes()
    assert isinstance(push(ledger, [event()], reading("4")), PushRefused)
    assert ledger.readings("a") == {"[]": reading("1")}


def test_a_duplicate_keeps_its_reading(story: Story) -> None:
    ledger = story.open()
    push(ledger, [event(id="x")], reading("1"))
    assert push(ledger, [event(id="x")], reading("2")) == PushAccepted(accepted=0, duplicates=1)
    assert ledger.readings("a") == {"[]": reading("2")}


def test_a_reading_that_the_disk_changed_is_noticed(story: Story) -> None:
    push(story.open(), [event()], reading("123456789"))
    story.close()
    content = story.path.read_bytes()
    assert content.count(b"123456789") == 2, "the row, and what it was when it was written"
    story.path.write_bytes(content.replace(b"123456789", b"123456780", 1))
    assert story.open().set_aside is not None


def test_a_ledger_before_readings_has_none(story: Story) -> None:
    ledger = story.open()
    assert ledger.readings("a") == {}
    story.close()
    connection: sqlite3.Connection = raw_connection(story.path)
    assert connection.execute("SELECT count(*) FROM reading").fetchone() == (0,)
    connection.close()
