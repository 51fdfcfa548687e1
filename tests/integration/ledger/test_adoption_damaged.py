"""Our ledger is damaged while it takes over what the dead left: what it took before is not taken into the new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.ledger import handover, opening
from sidecar.ledger.errors import LedgerError, corrupt
from sidecar.ledger.handover import Transfer
from sidecar.ledger.ledger import Ledger
from sidecar.quick_dataclasses import replace
from tests.fakes.faults import killed_in
from tests.integration.ledger.support import HOUR, OWNER, Story, accepted, event, settle


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[list[Story]]:
    """Workloads that are gone, in the order in which their ledgers are looked at."""
    made = [Story(tmp_path, owner=replace(OWNER, workload=f"pod-{number}")) for number in (2, 3)]
    yield sorted(made, key=lambda one: one.path.name)
    for one in made:
        one.close()


def left_behind(dead: Story, quantity: str) -> None:
    dead.push(dead.open(), event(quantity=quantity))
    dead.close()


def took(story: Story, ledger: Ledger, patch: pytest.MonkeyPatch) -> None:
    """Ours takes what is there, bills it, and is stopped before that is noted there."""
    with killed_in(patch, handover, "mark_taken"):
        ledger.adopt(story.now)
    (record,) = story.seal(ledger)
    assert settle(ledger, record, story).quantity == 3


def damage_in_take(ledger: Ledger, patch: pytest.MonkeyPatch) -> None:
    """Have this ledger be found damaged whenever it takes an amount; the one begun instead of it is not."""
    whole, damaged = handover.take, ledger._writer.run(opening.ledger_name)

    def take(connection: sqlite3.Connection, name: str, transfers: tuple[Transfer, ...], *more: object) -> None:
        if opening.ledger_name(connection) == damaged:
            raise corrupt("a row cannot be decoded")
        whole(connection, name, transfers, *more)  # type: ignore[arg-type]

    patch.setattr(handover, "take", take)


def test_what_the_damaged_ledger_took_and_billed_is_not_billed_again(
    story: Story, dead: list[Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead[0], "3")
    ledger = story.open()
    took(story, ledger, monkeypatch)
    damage_in_take(ledger, monkeypatch)
    (found,) = ledger.adopt(story.now)
    assert ledger.set_aside is not None
    assert (found.skipped, found.amounts, found.damaged) == ("ledger_corrupt", (), False)
    assert [one.amount for one in found.claimed] == [3]
    assert accepted(ledger) == 0
    (found,) = ledger.adopt(story.now)
    assert [one.amount for one in found.claimed] == [3], "in doubt the claim stays"
    assert accepted(ledger) == 0


def test_nor_is_what_it_took_of_a_ledger_that_is_looked_at_later(
    story: Story, dead: list[Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead[1], "3")
    ledger = story.open()
    took(story, ledger, monkeypatch)
    left_behind(dead[0], "5")
    damage_in_take(ledger, monkeypatch)
    found = ledger.adopt(story.now)
    assert ledger.set_aside is not None
    assert [[one.amount for one in each.claimed] for each in found] == [[5], [3]]
    assert [each.skipped for each in found] == ["ledger_corrupt", "ledger_corrupt"]
    assert accepted(ledger) == 0


def test_what_is_left_after_the_damage_is_taken_into_the_new_ledger(
    story: Story, dead: list[Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead[0], "3")
    ledger = story.open()
    damage_in_take(ledger, monkeypatch)
    ledger.adopt(story.now)
    left_behind(dead[1], "5")
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal(5)


def test_amounts_that_another_ledger_claimed_are_not_taken(story: Story) -> None:
    """Ours may be begun again between a person's decision and the taking, too."""
    ledger = story.open()
    amount = Transfer(number=1, dimension="requests", tags=(), amount=Decimal(3), from_hour=HOUR.number, why="rejected")
    with pytest.raises(LedgerError, match="begun again"):
        ledger.neighbours._take_at(story.now, "another")("theirs", (amount,))
    assert (accepted(ledger), ledger.set_aside, ledger.fault) == (0, None, None)
    ledger.neighbours._take_at(story.now, ledger._writer.run(opening.ledger_name))("theirs", (amount,))
    assert accepted(ledger) == 3
