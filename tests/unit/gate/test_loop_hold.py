"""The entitlement loop while metering holds the gate."""

from __future__ import annotations

from sidecar.entitlement.hold import Hold
from sidecar.entitlement.status import Status
from sidecar.errors import Exit
from tests.fakes.child import reporting
from tests.fakes.log import Events

from .support import ACCEPTED, DENY, KEPT, Story

# -- a hold of metering's


def test_a_hold_shuts_an_open_gate_and_its_end_opens_it_again(story: Story, events: Events) -> None:
    loop = story.after(ACCEPTED)
    loop.set_hold(Hold.METERING_OVERDUE)
    assert (loop.state.status, loop.state.reason) == (Status.UNAVAILABLE, "metering_overdue")
    assert loop.has_opened, "AWS did let it run"
    assert events.one("gate.held")["status"] == "unavailable"
    assert story.note.read_text() == ""
    loop.set_hold(None)
    assert loop.state.entitled
    assert len(events.of("gate.opened")) == 2


def test_a_gate_that_metering_holds_for_a_minute_is_explained(story: Story, events: Events) -> None:
    """The loop has nothing to ask and sleeps; the hold wakes it, so that its minute is counted."""
    loop = story.loop(reporting(ACCEPTED, kept=KEPT))
    loop.start()
    assert events.wait_for("gate.opened")
    for _ in range(200):
        loop.set_hold(Hold.METERING_OVERDUE)
        if events.wait_for("gate.shut", 0.05):
            break
        story.clock.advance(61)
    loop.stop()
    said = events.one("gate.shut")
    assert (said["reason"], said["command"]) == ("metering_overdue", "entitlement-sidecar doctor")


def test_a_denial_by_metering_shows_as_denied(story: Story) -> None:
    loop = story.after(ACCEPTED)
    loop.set_hold(Hold.FIRST_METER_DENIED)
    assert loop.state.status is Status.DENIED
    assert "customer_not_entitled" in story.note.read_text()
    loop.set_hold(None)
    assert story.note.read_text() == ""


def test_with_exit_a_denial_by_metering_ends_the_process(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(ACCEPTED).set_hold(Hold.FIRST_METER_DENIED)
    assert [code for code, _ in story.ended] == [Exit.DENIED]


def test_with_exit_overdue_metering_does_not_end_the_process(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(ACCEPTED).set_hold(Hold.METERING_OVERDUE)
    assert story.ended == []


def test_an_acceptance_under_a_hold_does_not_open_the_gate(story: Story, events: Events) -> None:
    loop = story.loop(reporting(ACCEPTED, kept=KEPT))
    loop.set_hold(Hold.FIRST_METER_DENIED)
    loop.check_once()
    assert loop.state.status is Status.DENIED
    assert events.of("gate.opened") == []
    assert events.of("gate.held")


def test_the_end_of_a_hold_does_not_open_a_shut_gate(story: Story) -> None:
    loop = story.after(DENY)
    loop.set_hold(Hold.METERING_OVERDUE)
    assert loop.state.reason == DENY.reason
    loop.set_hold(None)
    assert not loop.state.entitled


def test_a_new_worker_keeps_the_hold_of_the_last(story: Story) -> None:
    story.after(ACCEPTED).set_hold(Hold.FIRST_METER_DENIED)
    assert story.loop().state.status is Status.DENIED


def test_the_observer_is_called_before_the_gate_opens(story: Story) -> None:
    loop = story.loop(reporting(ACCEPTED, kept=KEPT))
    seen: list[bool] = []
    story.observer.on_before_open = lambda: seen.append(loop.state.entitled)
    loop.check_once()
    assert seen == [False]


def test_the_observer_is_told_of_an_accepted_recheck_only(story: Story) -> None:
    loop = story.after(ACCEPTED)
    story.clock.advance(20)
    assert loop.recheck() == 0
    assert story.observer.rechecks == 1
    assert loop.recheck() > 0
    assert story.observer.rechecks == 1, "within 15 seconds of the last nothing is asked"


def test_a_hold_before_the_first_opening_shows_its_own_reason(story: Story, events: Events) -> None:
    loop = story.loop(reporting(ACCEPTED, kept=KEPT))
    loop.set_hold(Hold.LEDGER_UNUSABLE)
    assert loop.state.reason != "ledger_opening", "AWS has not answered"
    loop.check_once()
    assert (loop.state.status, loop.state.reason) == (Status.PENDING, "ledger_opening")
    loop.set_hold(Hold.LEDGER_UNUSABLE, (Status.MISCONFIGURED, "ledger_full", "Make room."))
    assert (loop.state.status, loop.state.reason, loop.state.hint) == (
        Status.MISCONFIGURED,
        "ledger_full",
        "Make room.",
    )
    assert [one["reason"] for one in events.of("gate.held")] == ["ledger_opening", "ledger_full"]
    loop.set_hold(None)
    assert loop.state.entitled
    assert len(events.of("gate.opened")) == 1


# -- a hold for a lost seat

LOST = (Status.UNAVAILABLE, "seat_lost", "It is checked out again.")


def test_a_lost_seat_shuts_an_open_gate_until_it_is_held_again(story: Story, events: Events) -> None:
    loop = story.after(ACCEPTED)
    loop.set_seat_hold(LOST)
    assert (loop.state.status, loop.state.reason) == LOST[:2]
    loop.set_seat_hold(None)
    assert loop.state.entitled
    assert len(events.of("gate.opened")) == 2


def test_the_end_of_metering_s_hold_does_not_end_that_of_a_seat(story: Story) -> None:
    loop = story.after(ACCEPTED)
    loop.set_seat_hold(LOST)
    loop.set_hold(Hold.METERING_OVERDUE)
    assert loop.state.reason == "metering_overdue"
    loop.set_hold(None)
    assert loop.state.reason == "seat_lost"
    assert loop.hold is None, "that is metering's alone"


def test_a_lost_seat_does_not_open_a_gate_that_aws_keeps_shut(story: Story) -> None:
    loop = story.after(DENY)
    loop.set_seat_hold(LOST)
    loop.set_seat_hold(None)
    assert loop.state.reason == DENY.reason


def test_with_exit_a_seat_that_is_denied_ends_the_process(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(ACCEPTED).set_seat_hold((Status.DENIED, "seat_lost", "Buy more."))
    assert [code for code, _ in story.ended] == [Exit.DENIED]


def test_a_new_worker_keeps_the_hold_of_a_seat(story: Story) -> None:
    story.after(ACCEPTED).set_seat_hold(LOST)
    assert story.loop().state.reason == "seat_lost"
