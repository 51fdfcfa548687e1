"""The judge of two ledgers finds what is lost and what counts twice."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.ledger.volume import ledger_path
from tests.integration.ledger.support import event
from tests.power import usage
from tests.power.judge import Said, problems_of_two

SAID = Said(begun=["p1", "p2", "p3"], acknowledged={"p1", "p2"})


def pushed(directory: Path, owner: Owner, *names: str) -> None:
    """A ledger that was killed after these pushes."""
    with closing(Ledger.open(directory, owner, usage.DIMENSIONS, usage.BEGIN)) as ledger:
        for name in names:
            ledger.push([event(id="not pushed")] if name == "other" else usage.events_of(name), usage.BEGIN)


def found(directory: Path) -> list[str]:
    return problems_of_two(directory, SAID, 0, [])


def test_what_the_first_left_is_found_once_in_the_second(tmp_path: Path) -> None:
    pushed(tmp_path, usage.OWNER, "p1", "p2")
    assert found(tmp_path) == []
    assert found(tmp_path) == [], "and once more, where it was taken over before"


def test_a_ledger_that_is_gone_was_acknowledged(tmp_path: Path) -> None:
    pushed(tmp_path, usage.OWNER, "p1", "p2")
    ledger_path(tmp_path, usage.OWNER.workload).unlink()
    assert any("acknowledged events are not there" in problem for problem in found(tmp_path))


def test_what_counts_in_both_is_found(tmp_path: Path) -> None:
    pushed(tmp_path, usage.OWNER, "p1", "p2")
    pushed(tmp_path, usage.SUCCESSOR, "p2")
    assert any("in both ledgers" in problem for problem in found(tmp_path))


def test_what_was_never_pushed_is_found(tmp_path: Path) -> None:
    pushed(tmp_path, usage.OWNER, "p1", "p2", "other")
    assert any("requests: " in problem for problem in found(tmp_path))


def test_a_ledger_that_was_set_aside_is_found(tmp_path: Path) -> None:
    pushed(tmp_path, usage.SUCCESSOR, "p1")
    ledger_path(tmp_path, usage.SUCCESSOR.workload).write_bytes(b"garbage" * 200)
    assert any("was set aside" in problem for problem in found(tmp_path))
