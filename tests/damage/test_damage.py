"""One damaged byte never changes an amount or a sealed request unsaid."""

from __future__ import annotations

from pathlib import Path

from tests.damage import __main__ as damage


def test_a_damaged_byte_is_set_aside_or_bills_the_same(tmp_path: Path) -> None:
    found = list(damage.outcomes(2, 25, tmp_path))
    assert not [one for one in found if one.startswith(damage.WRONG)]
    assert {damage.EXACT, damage.AT_OPENING} <= set(found), "the damage is met"


def test_other_amounts_are_wrong(tmp_path: Path) -> None:
    damage.used(tmp_path)
    assert damage.outcome(tmp_path, ()).startswith(damage.WRONG)
