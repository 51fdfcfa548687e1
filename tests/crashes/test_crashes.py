"""After kills, stops and a full disk AWS's bill, the ledger and the clients agree; a difference is named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator.keys import SigningKeys
from tests.crashes.story import Story, differences

ONE, TWO, NONE = Decimal(1), Decimal(2), Decimal(0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_across_kills_the_bill_is_what_was_acknowledged(tmp_path: Path, seed: int) -> None:
    outcome = Story(seed, SigningKeys((1,)), tmp_path).run(10)
    assert outcome.wrong == []
    assert outcome.kills >= 10
    assert outcome.billed == outcome.owed
    assert outcome.hours >= 2


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
