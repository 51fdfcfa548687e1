"""Records are found by client token and by quantity, in the order in which they came."""

from __future__ import annotations

from sidecar.audit.pool import Pool
from tests.unit.audit.support import MICROS, ours


def test_the_first_record_of_a_quantity_that_fits_is_found() -> None:
    rows = [ours("a"), ours("b"), ours("c", 9)]
    pool = Pool(rows)
    assert pool.with_quantity(7 * MICROS, lambda _: True) == rows[0]
    assert pool.with_quantity(7 * MICROS, lambda row: row.record_id == "b") == rows[1]
    assert pool.with_quantity(8 * MICROS, lambda _: True) is None


def test_a_removed_record_is_found_no_more() -> None:
    rows = [ours("a", tokens="t-0 t-1"), ours("b", tokens="t-0")]
    pool = Pool(rows)
    pool.remove(rows[1])
    assert pool.with_token("t-0") == rows[0], "the token of one record is not another's to remove"
    pool.remove(rows[0])
    assert pool.with_token("t-0") is pool.with_token("t-1") is None
    assert pool.rows() == []
    assert not any(map(pool.has, rows))


def test_no_record_has_an_empty_token() -> None:
    assert Pool([ours("a", tokens="")]).with_token("") is None
