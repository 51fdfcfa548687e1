"""What was taken from another ledger is not taken again, however late that ledger notes it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.ledger import handover
from sidecar.ledger.ledger import Ledger
from tests.fakes.faults import killed_in
from tests.integration.ledger.support import Story, accepted, balanced, event, settle

AMOUNT = Decimal("3")


@pytest.fixture
def dead(dead: Story) -> Story:
    """A workload that is gone, and left this amount behind."""
    dead.push(dead.open(), event(quantity=str(AMOUNT)))
    dead.close()
    return dead


def stopped_at(step: str, story: Story, patch: pytest.MonkeyPatch) -> Ledger:
    """Our ledger, which was stopped at this step of an adoption."""
    ledger = story.open()
    with killed_in(patch, handover, step):
        ledger.adopt(story.now)
    return ledger


def later(story: Story, ledger: Ledger, *, days: int) -> None:
    """Bill the hour, let the time pass, and forget what is old."""
    for record in story.seal(ledger):
        settle(ledger, record, story)
    story.now += timedelta(days=days)
    ledger.prune(story.now)


def test_what_was_taken_and_forgotten_is_not_taken_again(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other ledger was in use, or could not be written to, until ours had forgotten."""
    ledger = stopped_at("mark_taken", story, monkeypatch)
    later(story, ledger, days=36)
    (found,) = ledger.adopt(story.now)
    assert [one.amount for one in found.claimed] == [AMOUNT], "named, for a person"
    assert accepted(ledger) == AMOUNT
    assert story.seal(ledger) == ()
    assert balanced(ledger)
    assert balanced(dead.open())


def test_what_was_taken_is_noted_there_while_ours_remembers(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = stopped_at("mark_taken", story, monkeypatch)
    later(story, ledger, days=33)
    (found,) = ledger.adopt(story.now)
    assert found.claimed == ()
    assert accepted(ledger) == AMOUNT
    assert accepted(dead.open()) == 0


def test_what_was_not_taken_is_taken_while_ours_would_remember(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = stopped_at("take", story, monkeypatch)
    later(story, ledger, days=33)
    (found,) = ledger.adopt(story.now)
    assert (found.claimed, accepted(ledger), accepted(dead.open())) == ((), AMOUNT, 0)
