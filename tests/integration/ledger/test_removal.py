"""Ledgers of dead workloads are removed once nothing in them is needed; their totals stay in the remover's."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.ledger import live_copy, neighbours
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.records import RETENTION
from sidecar.ledger.volume import Lock
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.fakes.faults import killed_in, raising
from tests.integration.ledger.support import OWNER, Story, accepted, audit_copy, balanced, event, settle

LATER = RETENTION + timedelta(days=1, hours=2)


def all_settled(dead: Story, quantity: str = "5") -> None:
    ledger = dead.open()
    dead.push(ledger, event(id="a", quantity=quantity))
    (record,) = dead.seal(ledger)
    settle(ledger, record, dead)
    dead.close()


def later(story: Story, dead: Story, by: timedelta = LATER) -> Ledger:
    story.now = dead.now + by
    return story.open()


def removed_totals(ledger: Ledger) -> dict[tuple[str, str], tuple[str, str, int]]:
    rows = [row for row in map(json.loads, audit_copy(ledger)) if row["record"] == "removed"]
    return {(row["workload"], row["dimension"]): (row["accepted"], row["settled"], row["events"]) for row in rows}


def files_of(story: Story) -> list[str]:
    return sorted(name for name in os.listdir(story.directory) if name.startswith(story.path.name))


def test_a_settled_ledger_is_removed_after_its_audit_time(story: Story, dead: Story) -> None:
    all_settled(dead)
    ledger = later(story, dead)
    (found,) = ledger.adopt(story.now)
    assert (found.removed, files_of(dead), ledger.adopt(story.now)) == (True, [], ())
    assert removed_totals(ledger)["pod-0", "requests"] == ("5", "5", 1)
    assert accepted(ledger) == Decimal(0), "our own totals do not leap"
    assert balanced(ledger)


def test_a_ledger_within_its_audit_time_stays(story: Story, dead: Story) -> None:
    all_settled(dead)
    ledger = later(story, dead, RETENTION - timedelta(hours=2))
    (found,) = ledger.adopt(story.now)
    assert (found.removed, dead.path.exists(), removed_totals(ledger)) == (False, True, {})


def test_a_ledger_that_gave_something_away_stays_for_the_audit_time(story: Story, dead: Story) -> None:
    dead.push(dead.open(), event(quantity="5"))
    dead.close()
    ledger = later(story, dead)
    (found,) = ledger.adopt(story.now)
    assert ([one.amount for one in found.amounts], found.removed) == ([5], False)
    story.now += LATER
    (found,) = ledger.adopt(story.now)
    assert found.removed
    assert removed_totals(ledger)["pod-0", "requests"] == ("0", "0", 1)
    assert accepted(ledger) == Decimal(5)


@pytest.mark.parametrize("state", [State.REJECTED, State.DISPUTED])
def test_a_ledger_with_a_record_for_a_person_stays(story: Story, dead: Story, state: State) -> None:
    ledger = dead.open()
    dead.push(ledger, event(quantity="5"))
    (record,) = dead.seal(ledger)
    ledger.save(replace(record, state=state), dead.now, outcome="x")
    dead.close()
    ours = later(story, dead)
    (found,) = ours.adopt(story.now)
    assert (found.removed, len(found.orphans), dead.path.exists()) == (False, 1, True)


def test_a_ledger_with_a_remainder_that_nobody_takes_stays(story: Story, dead: Story) -> None:
    all_settled(dead, "5.5")
    story.dimensions = [one for one in story.dimensions if one.name != "requests"]
    ours = later(story, dead)
    assert [one.removed for one in ours.adopt(story.now)] == [False]
    assert dead.path.exists()


def test_a_ledger_in_use_or_of_another_product_stays(story: Story, dead: Story) -> None:
    all_settled(dead)
    other = Story(dead.directory, owner=replace(OWNER, workload="pod-9", product_code="other"))
    all_settled(other)
    lock = Lock(dead.path)
    ours = later(story, dead)
    assert {one.skipped for one in ours.adopt(story.now)} == {"ledger_locked", "ledger_of_another"}
    lock.release()
    assert dead.path.exists()
    assert other.path.exists()


def test_none_is_removed_while_it_may_say_what_became_of_a_claim(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_settled(dead)
    other = Story(dead.directory, owner=replace(OWNER, workload="pod-9"))
    other.push(other.open(), event())
    other.close()
    ours = later(story, dead)

    with monkeypatch.context() as patch:
        patch.setattr("sidecar.ledger.handover.take", raising(LedgerError, "ledger_full"))
        assert [one.removed for one in ours.adopt(story.now)] == [False, False]
    assert sum(one.removed for one in ours.adopt(story.now)) == 1


def test_a_crash_before_the_file_is_gone_counts_its_totals_once(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_settled(dead)
    ours = later(story, dead)

    with killed_in(monkeypatch, live_copy, "remove"):
        ours.adopt(story.now)
    assert dead.path.exists()
    assert ours.adopt(story.now)[0].removed
    assert removed_totals(ours)["pod-0", "requests"] == ("5", "5", 1)


def test_totals_of_the_removed_move_on_with_their_remover(story: Story, dead: Story) -> None:
    all_settled(dead)
    later(story, dead).adopt(story.now)
    story.close()
    last = Story(story.directory, owner=replace(OWNER, workload="pod-2"), now=story.now + LATER)
    ledger = last.open()
    assert [one.removed for one in ledger.adopt(last.now)] == [True]
    assert removed_totals(ledger)["pod-0", "requests"] == ("5", "5", 1)
    last.close()


def test_a_lock_on_a_file_that_was_removed_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opened it before it was removed may lock it afterwards."""
    path = tmp_path / "ledger.sqlite3"
    first = Lock(path)
    real = os.open

    def opened_before_it_is_removed(*given: object, **more: object) -> int:
        handle = real(*given, **more)  # type: ignore[arg-type]
        first.remove()
        return handle

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opened_before_it_is_removed)
        with pytest.raises(LedgerError) as raised:
            Lock(path)
    assert raised.value.reason == "ledger_locked"
    Lock(path).release()


def test_a_workload_that_comes_back_begins_a_new_ledger(story: Story, dead: Story) -> None:
    all_settled(dead)
    ours = later(story, dead)
    ours.adopt(story.now)
    dead.now = story.now
    again = dead.open()
    dead.push(again, event(quantity="2"))
    assert accepted(again) == Decimal(2)


# -- how often they are read


def test_a_ledger_that_has_not_changed_is_read_once_a_day(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_settled(dead)
    read: list[Path] = []
    real = neighbours.adoption.adopt

    def counted(path: Path, *given: object) -> object:
        read.append(path)
        return real(path, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(neighbours.adoption, "adopt", counted)
    ours = later(story, dead, timedelta(hours=1))
    for minutes in (0, 10, 20):
        assert len(ours.adopt(story.now + timedelta(minutes=minutes))) == 1
    assert len(read) == 1
    dead.now = story.now
    dead.push(dead.open(), event(quantity="3"))
    assert [one.skipped for one in ours.adopt(story.now)] == ["ledger_locked"]
    dead.close()
    assert [one.amount for one in ours.adopt(story.now)[0].amounts] == [3]
    read.clear()
    ours.adopt(story.now + timedelta(days=1, hours=1))
    assert len(read) == 1


def test_the_first_push_waits_only_for_ledgers_that_may_know_ids(story: Story, dead: Story) -> None:
    all_settled(dead)
    old = Story(dead.directory, owner=replace(OWNER, workload="pod-9"))
    all_settled(old)
    os.utime(old.path, (1, 1))
    ours = later(story, dead, timedelta(hours=1))
    assert [one.path for one in ours.neighbours.adopt_recent(story.now)] == [dead.path]
    assert {one.path for one in ours.adopt(story.now)} == {dead.path, old.path}
