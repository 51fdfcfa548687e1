"""A predecessor still runs: its ids are known to the next workload, and the rest once its lock is free."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest

from sidecar.ledger import adoption, id_memory, live_copy
from sidecar.ledger.volume import Lock
from sidecar.metering.events import PushAccepted, PushRefused, id_digest
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import OWNER, Story, accepted, balanced, child, event

MANY = [event(id=f"many-{number}") for number in range(300)]


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Story]:
    """The workload that runs already."""
    made = Story(tmp_path, owner=replace(OWNER, workload="pod-0"))
    yield made
    made.close()


def test_ids_of_a_ledger_in_use_are_known(story: Story, before: Story) -> None:
    living = before.open()
    before.push(living, event(id="a", quantity="2"))
    before.push(living, *MANY)
    ledger = story.open()
    (found,) = ledger.adopt(story.now)
    assert (found.skipped, found.ids_unread, found.amounts) == ("ledger_locked", None, ())
    assert story.push(ledger, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)
    assert story.push(ledger, *MANY) == PushAccepted(accepted=0, duplicates=len(MANY))
    assert isinstance(story.push(ledger, event(id="a", quantity="3")), PushRefused), "other content"
    assert story.push(ledger, event(id="b")) == PushAccepted(accepted=1, duplicates=0)
    assert before.push(living, event(id="c")) == PushAccepted(accepted=1, duplicates=0), "it goes on"


def test_what_a_ledger_in_use_keeps_later_is_known_when_it_is_free(story: Story, before: Story) -> None:
    living = before.open()
    ledger = story.open()
    ledger.adopt(story.now)
    before.push(living, event(id="late", quantity="4"))
    assert (ledger.neighbours.in_use, ledger.neighbours.freed()) == (True, ())
    before.close()
    assert ledger.neighbours.freed() == (before.path,)
    (found,) = ledger.adopt(story.now, ledger.neighbours.freed())
    assert [one.amount for one in found.amounts] == [4]
    assert story.push(ledger, event(id="late", quantity="4")) == PushAccepted(accepted=0, duplicates=1)
    assert (ledger.neighbours.in_use, ledger.neighbours.freed(), accepted(ledger)) == (False, (), Decimal(4))
    assert balanced(ledger)


def test_looking_at_locks_takes_none_and_begins_no_ledger(story: Story, before: Story) -> None:
    living = before.open()
    ledger = story.open()
    ledger.adopt(story.now)
    living.close()
    assert ledger.neighbours.freed()
    Lock(before.path).release()
    before.path.unlink()
    assert ledger.neighbours.freed() == ()
    assert not before.path.exists()


def test_reading_a_ledger_in_use_leaves_nothing_behind(story: Story, before: Story) -> None:
    before.push(before.open(), *MANY)
    ledger = story.open()
    names, content = sorted(os.listdir(story.directory)), before.path.read_bytes()
    ledger.adopt(story.now)
    assert sorted(os.listdir(story.directory)) == names
    assert before.path.read_bytes() == content


@pytest.mark.parametrize("change", [{"product_code": "other"}, {"region": "eu-west-1"}])
def test_ids_of_another_product_in_use_are_not_taken(story: Story, before: Story, change: dict[str, str]) -> None:
    before.owner = replace(before.owner, **change)
    before.push(before.open(), event(id="a"))
    ledger = story.open()
    (found,) = ledger.adopt(story.now)
    assert found.ids_unread is None
    assert story.push(ledger, event(id="a")) == PushAccepted(accepted=1, duplicates=0)


def test_ids_that_could_not_be_read_are_reported_and_read_later(
    story: Story, before: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before.push(before.open(), event(id="a"))
    ledger = story.open()
    with monkeypatch.context() as patch:
        patch.setattr(live_copy, "FREE_SHARE", 10**15)
        (found,) = ledger.adopt(story.now)
    assert found.ids_unread is not None
    assert found.ids_unread.reason == "ledger_full"
    assert ledger.adopt(story.now)[0].ids_unread is None
    assert story.push(ledger, event(id="a")) == PushAccepted(accepted=0, duplicates=1)


def test_ids_too_old_to_be_duplicates_there_are_none_here(story: Story, before: Story) -> None:
    before.push(before.open(), event(id="a"))
    story.now += timedelta(hours=49)
    ledger = story.open()
    ledger.adopt(story.now)
    assert story.push(ledger, event(id="a")) == PushAccepted(accepted=1, duplicates=0)


WRITES = """
from sidecar.quick_dataclasses import replace
story = Story(Path(argv[0]), owner=replace(OWNER, workload="pod-0"))
ledger = story.open()
for number in range(100_000):
    few = [event(id=f"{number}-{one}") for one in range(1 + number % 40)]
    assert story.push(ledger, *few).accepted == len(few)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_copy_made_beside_a_busy_writer_has_all_it_acknowledged(story: Story, before: Story) -> None:
    """Its log is begun again meanwhile, many times."""
    writer = child(WRITES, before.directory)
    assert writer.stdout is not None
    try:
        for _ in range(8):
            for _ in range(120):
                number = int(writer.stdout.readline())
            found: list[bytes] = []
            adoption.read_ids(before.path, story.path, OWNER, story.now, found.append)
            entries = b"".join(found)
            known = {entries[at : at + id_memory.ID] for at in range(0, len(entries), id_memory.ENTRY)}
            wanted = {f"{one}-{at}" for one in range(number + 1) for at in range(1 + one % 40)}
            assert {id_digest(one)[: id_memory.ID] for one in wanted} <= known
    finally:
        writer.kill()
        writer.communicate()


def test_each_look_is_announced(story: Story, before: Story) -> None:
    before.open()
    Story(story.directory, owner=replace(OWNER, workload="pod-9")).open()
    ledger, looks = story.open(), []
    ledger.neighbours.on_look = lambda: looks.append(1)
    ledger.adopt(story.now)
    assert len(looks) == 2


@pytest.mark.parametrize("fault", [OSError(errno.EMFILE, "no descriptor"), OSError(errno.EIO, "broken")])
def test_a_directory_that_cannot_be_read_frees_nothing(
    story: Story, before: Story, monkeypatch: pytest.MonkeyPatch, fault: OSError
) -> None:
    before.open()
    ledger = story.open()
    ledger.adopt(story.now)

    def broken(*_: object, **__: object) -> NoReturn:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr("os.stat", broken)
        assert ledger.neighbours.freed() == ()
    assert ledger.neighbours.in_use
