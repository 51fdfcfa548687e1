"""How near the end of a contract is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.entitlement.contract_end import Stage, renewed, stage
from tests.fakes.clock import NOON


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (365, Stage.FAR),
        (30.01, Stage.FAR),
        (30, Stage.MONTH),
        (7.01, Stage.MONTH),
        (7, Stage.WEEK),
        (1, Stage.DAY),
        (0.001, Stage.DAY),
        (0, Stage.ENDED),
        (-400, Stage.ENDED),
    ],
)
def test_the_stage_is_that_of_the_days_that_are_left(days: float, expected: Stage) -> None:
    assert stage(NOON + timedelta(days=days), NOON) is expected


def test_a_contract_whose_end_is_not_known_is_not_near_it() -> None:
    assert stage(None, NOON) is Stage.FAR


def test_only_an_earlier_stage_than_before_is_a_renewal() -> None:
    assert renewed(Stage.DAY, Stage.FAR)
    assert renewed(Stage.ENDED, Stage.MONTH)
    assert not renewed(Stage.MONTH, Stage.WEEK)
    assert not renewed(Stage.WEEK, Stage.WEEK)
