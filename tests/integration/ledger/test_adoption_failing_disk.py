"""The disk does not say what another ledger is: its ids are named as missing, and are not taken as none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.ledger.adoption import AdoptionResult
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import OWNER, Story, event

CALLS = 8
"""More are not made on the way to the ids."""


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Story]:
    """A workload that is gone, with an id in its ledger."""
    made = Story(tmp_path, owner=replace(OWNER, workload="pod-2"))
    made.push(made.open(), event(id="a"))
    made.close()
    yield made
    made.close()


def fail_stat(patch: pytest.MonkeyPatch, path: Path, number: int) -> list[str]:
    """Have the `number`th look at a file with this name, or one that begins so, fail. Returns the looks."""
    looks: list[str] = []
    real = os.stat

    def stat(at: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if str(at).startswith(str(path)):
            looks.append(str(at))
            if len(looks) == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(at))
        return real(at, *arguments, **more)

    patch.setattr(os, "stat", stat)
    return looks


def ids_are_known(story: Story, ledger: Ledger) -> bool:
    return story.push(ledger, event(id="a")) == PushAccepted(accepted=0, duplicates=1)


@pytest.mark.parametrize("recent", [True, False], ids=["before the first push", "later"])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_look_that_fails_is_told_from_a_ledger_without_ids(
    dead: Story, story: Story, monkeypatch: pytest.MonkeyPatch, number: int, recent: bool
) -> None:
    ledger = story.open()
    with monkeypatch.context() as patch:
        looks = fail_stat(patch, dead.path, number)
        found: tuple[AdoptionResult, ...] = ()
        reason = ""
        try:
            found = ledger.neighbours.adopt_recent(story.now) if recent else ledger.adopt(story.now)
        except LedgerError as exc:
            reason = exc.reason
    assert looks
    assert reason in ("", "ledger_io_error")
    missing = bool(reason) or any(one.ids_missing and one.skipped == "ledger_io_error" for one in found)
    assert missing is not ids_are_known(story, ledger)


def test_each_look_on_the_way_to_the_ids_is_one_of_these(
    dead: Story, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = story.open()
    with monkeypatch.context() as patch:
        looks = fail_stat(patch, dead.path, 0)
        ledger.adopt(story.now)
    assert len(looks) > 3
    assert ids_are_known(story, ledger)
