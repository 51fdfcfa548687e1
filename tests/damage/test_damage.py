"""One damaged byte never changes an amount, a sealed request or what counts as a repeat unsaid."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.damage import __main__ as damage

ALLOWED = {damage.EXACT, damage.AT_OPENING, damage.IN_USE}


def test_a_damaged_byte_is_set_aside_or_changes_nothing(tmp_path: Path) -> None:
    found = set(damage.outcomes(2, 12, tmp_path))
    assert found <= ALLOWED
    assert {damage.EXACT, damage.AT_OPENING} <= found, "the damage is met"


@pytest.mark.slow
def test_many_damaged_bytes_are_set_aside_or_change_nothing(tmp_path: Path) -> None:
    assert set(damage.outcomes(3, 100, tmp_path)) <= ALLOWED


@pytest.mark.slow
def test_without_the_sums_of_ids_repeats_count_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.ledger.seen_ids.check", lambda connection, version: None)
    monkeypatch.setattr("sidecar.ledger.seen_ids.zlib", SimpleNamespace(crc32=lambda entries: 0))  # not of keys
    assert {damage.COUNTED_AGAIN, damage.CONFLICT} & set(damage.outcomes(2, 60, tmp_path))


def test_a_ledger_that_refuses_what_is_to_be_damaged_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the ids, or the keys, were not there, and nothing could happen to them."""
    monkeypatch.setattr("sidecar.ledger.unique_keys.zlib", SimpleNamespace(crc32=lambda entries: 0))
    with pytest.raises(AssertionError, match="TypeError"):
        damage.used(tmp_path)


def test_other_amounts_are_wrong(tmp_path: Path) -> None:
    _, _, then = damage.used(tmp_path)
    assert damage.outcome(tmp_path, (), then).startswith(damage.WRONG)


def test_another_amount_afterwards_is_wrong(tmp_path: Path) -> None:
    _, right, _ = damage.used(tmp_path)
    assert damage.outcome(tmp_path, right, right).startswith(damage.WRONG)
