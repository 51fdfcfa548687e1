"""What the loop cannot digest is put aside and named, and everything else goes on."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from sidecar.billing.messages import Submission
from sidecar.billing.quarantine import PAUSE, Quarantine
from sidecar.billing.submitter import BATCH_MAX
from sidecar.entitlement.hold import Hold
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.volume import ledger_path
from sidecar.metering.outcomes import Refused
from tests.fakes.child import FakeChild
from tests.fakes.faults import raising
from tests.fakes.log import Events
from tests.integration.billing.support import MakeStory, Story, clock_time, hour


class Poison:
    """AWS, but no child can be started with a request of the dimension `bad`."""

    def __init__(self, story: Story) -> None:
        self._story, self._start = story, story.aws

    def __call__(self, submission: Submission) -> FakeChild:
        if any(one.dimension == "bad" for one in submission.requests):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return self._start(submission)


def poisoned(story: Story) -> Story:
    assert story.loop._opened is not None
    story.loop._opened.submitter._start_child = Poison(story)  # type: ignore[assignment]
    return story


def cured(story: Story) -> None:
    assert story.loop._opened is not None
    story.loop._opened.submitter._start_child = story.aws  # type: ignore[assignment]


def put_aside(story: Story) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in story.loop.quarantine]


def test_a_record_that_cannot_be_sent_keeps_no_other_from_being_billed(make_story: MakeStory, events: Events) -> None:
    story = poisoned(make_story(dimensions="bad,requests"))
    story.use("1", dimension="bad")
    story.use("2")
    story.at("11:00:30").at("11:10").at("11:11").at("11:20")
    assert story.aws.bill() == {"10": "2"}
    assert put_aside(story) == [("record", "bad in 2026-01-02T10:00Z")]
    logged = events.one("usage.quarantined")
    assert logged["error"].startswith("UnicodeEncodeError")
    assert logged["where"].startswith("test_quarantine.py:")
    cured(story)
    story.at("11:30")
    assert story.aws.bill("bad") == {"10": "1"}
    assert put_aside(story) == []
    story.balanced()


def test_more_records_put_aside_than_a_batch_holds_block_nothing(make_story: MakeStory) -> None:
    names = [f"bad{n}" for n in range(BATCH_MAX // 2 + 1)]
    story = make_story(dimensions=",".join([*names, "requests"]))
    for at in ("10:20", "11:20", "12:00:30"):
        story.clock.at = clock_time(at)
        for one in list(story.loop.quarantine):
            story.loop.quarantine.add(one.kind, one.name, ValueError(one.name))
        story.loop.run_once()
        for name in names:
            story.use("1", dimension=name)
            story.loop.quarantine.add("record", f"{name} in {hour(at)}", ValueError(name))
        if at == "11:20":
            story.use("2")
    story.loop.send_now()
    story.at("12:00:31")
    assert story.aws.bill() == {"11": "2"}
    assert len(story.aws.sent) == 1


def test_an_answer_that_cannot_be_digested_is_asked_for_again_unchanged(make_story: MakeStory) -> None:
    story = make_story(dimensions="gb,requests")
    story.use("1", dimension="gb")
    story.use("2")
    assert story.loop._opened is not None
    submitter: Any = story.loop._opened.submitter
    submitter._chance, working = (lambda: None), submitter._chance
    story.aws.answers = [Refused(code="ThrottlingException")]
    story.at("11:00:30").at("11:10")
    assert story.aws.bill() == {"10": "2"}
    assert put_aside(story) == [("record", "gb in 2026-01-02T10:00Z")]
    submitter._chance = working
    story.at("11:12")
    assert len(story.aws.sent) == 2, "not before its pause is over"
    story.at("11:20")
    first, _, again = story.aws.sent
    assert again == first
    assert story.aws.bill("gb") == {"10": "1"}
    assert put_aside(story) == []


def test_where_no_dimension_can_be_sealed_metering_is_overdue_and_then_bills_all(make_story: MakeStory) -> None:
    story = make_story(on_metering_overdue="shut")
    story.use("2")
    assert story.loop._opened is not None
    sealer: Any = story.loop._opened.sealer
    sealer._product, working = object(), sealer._product
    story.at("11:00:30").at("12:00:30")
    assert put_aside(story) == [("dimension", "requests")]
    assert story.gate.holds == []
    story.at("13:00:31")
    assert story.gate.holds == [Hold.METERING_OVERDUE]
    story.balanced()
    sealer._product = working
    story.use("1")
    story.at("14:00:30").at("14:10")
    assert story.aws.bill() == {"13": "3"}
    assert put_aside(story) == []
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]
    story.balanced()


def test_a_step_that_fails_keeps_the_others_going_and_becomes_overdue(make_story: MakeStory, events: Events) -> None:
    story = make_story(on_metering_overdue="shut")
    ledger: Any = story.loop.ledger

    def broken() -> None:
        raise KeyError("balance")

    working, ledger.snapshot = ledger.snapshot, broken
    story.use("2")
    story.at("11:00:30").at("11:10")
    assert story.aws.bill() == {"10": "2"}
    assert put_aside(story) == [("step", "reading the ledger")]
    story.at("13:09")
    assert story.gate.holds == [], "AWS took a record at 11:10"
    story.at("13:11")
    assert story.gate.holds == [Hold.METERING_OVERDUE]
    ledger.snapshot = working
    story.at("13:12")
    assert put_aside(story) == []
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]
    assert len(events.of("usage.quarantined")) == 1


def test_a_neighbours_ledger_that_cannot_be_digested_is_left_alone_and_named(
    make_story: MakeStory, events: Events
) -> None:
    gone = make_story(workload="pod-0")
    gone.use("7")
    gone.crash()
    path = ledger_path(gone.directory, "pod-0")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE bucket SET tags = '{'")
    connection.close()
    story = make_story()
    story.use("2")
    story.at("11:00:30").at("11:10")
    assert story.aws.bill() == {"10": "2"}
    assert events.of("usage.adoption_failed")[0]["path"] == str(path)
    assert events.of("usage.quarantined") == []


def test_a_look_that_failed_stays_quarantined_until_one_succeeds(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    ledger: Any = story.loop.ledger

    working, ledger.adopt = ledger.adopt, raising(OSError, 24, "Too many open files")
    story.at("10:40")
    assert put_aside(story) == [("maintenance", "taking over")]
    story.at("10:41").at("10:42")
    assert put_aside(story) == [("maintenance", "taking over")], "the passes between look at nothing"
    ledger.adopt = working
    story.at("10:51")
    assert put_aside(story) == []
    assert len(events.of("usage.quarantined")) == 1


def test_a_failure_of_the_disk_is_put_aside_nowhere(make_story: MakeStory) -> None:
    quarantine = Quarantine(make_story().clock.now)

    def full() -> None:
        raise LedgerError("ledger_full")

    with pytest.raises(LedgerError):
        quarantine.run("step", "sealing", full)
    with pytest.raises(MemoryError):
        quarantine.run("step", "sealing", lambda: (_ for _ in ()).throw(MemoryError()))
    assert len(quarantine) == 0


def test_what_is_put_aside_waits_for_its_pause_and_is_logged_when_its_error_changes(
    make_story: MakeStory, events: Events
) -> None:
    clock = make_story().clock
    quarantine = Quarantine(clock.now)
    for text in ("a", "a", "b"):
        quarantine.add("record", "x", ValueError(text))
    assert [one["error"] for one in events.of("usage.quarantined")] == ["ValueError: a", "ValueError: b"]
    assert quarantine.waits("record", "x")
    assert not quarantine.waits("record", "y")
    clock.advance(PAUSE.total_seconds())
    assert not quarantine.waits("record", "x")


def test_what_is_put_aside_stands_in_status_and_metrics(make_story: MakeStory) -> None:
    from sidecar.billing import status

    story = make_story()
    story.loop.quarantine.add("record", "requests in 2026-01-02T10:00Z", ValueError("bad"))
    shown: Any = status.document(story.loop, story.settings, None)
    assert shown["quarantined"] == [
        {
            "kind": "record",
            "what": "requests in 2026-01-02T10:00Z",
            "error": "ValueError: bad",
            "since": "2026-01-02T10:20:00.000Z",
        }
    ]
    assert "requests in 2026-01-02T10:00Z" in shown["hint"]
    (metric,) = (
        one for one in status.metrics(story.loop, {}, None, story.clock.now()) if one.name == "usage_quarantined"
    )
    assert list(metric.samples) == [({}, 1.0)]
