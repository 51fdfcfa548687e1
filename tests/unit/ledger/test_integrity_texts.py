"""What the texts of SQLite's check mean: damage sets a ledger aside, a page that the disk did not read does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.ledger import integrity
from sidecar.ledger.errors import as_ledger_error

UNREAD = "Tree 4 page 4: unable to get the page. error code=8458"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([UNREAD], "ledger_io_error"),
        (["wrong # of entries in index sqlite_autoindex_meta_1", UNREAD], "ledger_io_error"),
        (["*** in database main ***\nTree 4 page 4: unable to get the page. error code=10"], "ledger_io_error"),
        (["Tree 4 page 4: btreeInitPage() returns error code 11"], "ledger_corrupt"),
        (["Tree 4 page 4: unable to get the page. error code=11"], "ledger_corrupt"),
        (["row 1 missing from index error code="], "ledger_corrupt"),
    ],
)
def test_a_page_that_was_not_read_is_no_damage(texts: list[str], reason: str) -> None:
    assert as_ledger_error(integrity._fault(texts), Path("ledger.sqlite3")).reason == reason
