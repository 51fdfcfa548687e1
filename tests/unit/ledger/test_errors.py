"""Every way a disk fails has a reason and a next step."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.ledger.errors import REASONS, SQLITE, SYSTEM, LedgerError, as_ledger_error, decoding

PATH = Path("/x/ledger.sqlite3")


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("said SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", SQLITE)
def test_a_code_and_its_extended_codes_mean_the_same(code: int) -> None:
    assert as_ledger_error(sqlite_error(code), PATH).reason == as_ledger_error(sqlite_error(code | 7 << 8), PATH).reason


def test_every_reason_has_a_hint_and_every_code_a_reason() -> None:
    assert {*SQLITE.values(), *SYSTEM.values()} <= set(REASONS)
    assert all(hint.endswith(".") for hint in REASONS.values())


def test_an_unknown_error_is_a_failure() -> None:
    assert as_ledger_error(sqlite_error(99), PATH).reason == "ledger_failed"
    assert as_ledger_error(OSError(errno.EDOM, "what"), PATH).reason == "ledger_failed"
    assert as_ledger_error(ZeroDivisionError(), PATH).reason == "ledger_failed"


@pytest.mark.parametrize("statement", ["SELECT a FROM c", "SELECT b FROM t", "INSERT INTO t (b) VALUES (1)"])
def test_a_schema_without_what_a_statement_names_is_corruption(statement: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a)")
    with pytest.raises(sqlite3.OperationalError) as raised:
        connection.execute(statement)
    assert as_ledger_error(raised.value, PATH).reason == "ledger_corrupt"


@pytest.mark.parametrize("statement", ["ROLLBACK", "RELEASE one", "SELECT"])
def test_another_mistake_in_a_statement_is_a_failure(statement: str) -> None:
    """A mistake of ours sets no file aside."""
    with pytest.raises(sqlite3.OperationalError) as raised:
        sqlite3.connect(":memory:").execute(statement)
    assert as_ledger_error(raised.value, PATH).reason == "ledger_failed"


def test_a_full_disk_has_one_reason_from_system_and_sqlite() -> None:
    assert as_ledger_error(OSError(errno.ENOSPC, "full"), PATH).reason == "ledger_full"
    assert as_ledger_error(sqlite_error(sqlite3.SQLITE_FULL), PATH).reason == "ledger_full"


def test_text_that_is_none_is_corruption() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as raised:
        connection.execute("SELECT CAST(X'ff' AS TEXT)").fetchone()
    assert as_ledger_error(raised.value, PATH).reason == "ledger_corrupt"
    assert as_ledger_error(UnicodeDecodeError("utf-8", b"x", 0, 1, "no text"), PATH).reason == "ledger_corrupt"


@pytest.mark.parametrize("read", [lambda: int("x"), lambda: {}["x"], lambda: Decimal("x"), lambda: None + 1])  # type: ignore[operator]
def test_what_cannot_be_decoded_is_corruption(read: Callable[[], object]) -> None:
    with pytest.raises(sqlite3.DatabaseError) as raised, decoding():
        read()
    assert as_ledger_error(raised.value, PATH).reason == "ledger_corrupt"


def test_a_full_disk_while_decoding_stays_a_full_disk() -> None:
    with pytest.raises(sqlite3.OperationalError) as raised, decoding():
        raise sqlite_error(sqlite3.SQLITE_FULL)
    assert as_ledger_error(raised.value, PATH).reason == "ledger_full"


def test_a_ledger_error_is_not_translated_again() -> None:
    error = LedgerError("ledger_locked", "By him.")
    assert as_ledger_error(error, PATH) is error
    assert error.hint.startswith("By him. Run one")
