"""After kills, stops and a full disk AWS's bill, the ledger and the clients agree; a difference is named."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator.keys import SigningKeys
from tests.crashes.__main__ import report
from tests.crashes.story import WEIGHTS, Outcome, Story, differences

ONE, TWO, NONE = Decimal(1), Decimal(2), Decimal(0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_across_kills_the_bill_is_what_was_acknowledged(tmp_path: Path, seed: int) -> None:
    outcome = Story(seed, SigningKeys((1,)), tmp_path).run(10)
    assert outcome.wrong == []
    assert outcome.kills >= 10
    assert outcome.billed == outcome.owed
    assert outcome.hours >= 2
    impossible = {line.partition(":")[0] for line in outcome.left_out}
    assert impossible <= {"full"}
    assert set(outcome.happened) == set(WEIGHTS) - impossible, "each kind has happened"


def test_what_cannot_happen_here_is_in_the_report(tmp_path: Path) -> None:
    story = Story(1, SigningKeys((1,)), tmp_path)
    story._leave_out("full", "no mount")
    found = report(1, {0: story.outcome, 1: Outcome(happened=Counter(worker=2, stopped=1), wrong=["lost"])})
    assert found["left_out"] == ["full: no mount"]
    assert "full" not in {story._next(number) for number in range(100)}
    assert (found["kills"], found["happened"]) == (2, {"worker": 2, "stopped": 1})
    assert found["wrong"] == [{"story": 1, "what": "lost"}]


def test_what_has_not_happened_yet_comes_before_chance(tmp_path: Path) -> None:
    story = Story(1, SigningKeys((1,)), tmp_path)
    assert {story._next(number) for number in range(0, 2 * len(WEIGHTS), 2)} == set(WEIGHTS)


@pytest.mark.parametrize(
    ("owed", "paid", "rest", "refused"),
    [
        (TWO, ONE, NONE, []),
        (ONE, TWO, NONE, []),
        (TWO, ONE, ONE, []),
        (ONE, ONE, NONE, ["DuplicateRequestException"]),
    ],
    ids=["lost", "billed twice", "waits", "another repeat"],
)
def test_sums_that_do_not_agree_are_named(owed: Decimal, paid: Decimal, rest: Decimal, refused: list[str]) -> None:
    assert len(differences(owed, paid, rest, refused)) == 1


def test_sums_that_agree_are_in_order() -> None:
    assert differences(TWO, TWO, NONE, []) == []
