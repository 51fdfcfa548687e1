"""Every statement has a name, says what it does, and means something to SQLite."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys

import pytest

from sidecar.ledger.statements import HERE, migrations, split, sql, statements


@pytest.fixture(scope="module")
def schema() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(sql("migration_table"))
    for step in migrations():
        for statement in step.statements:
            connection.execute(statement)
    return connection


IN_TURN = {"migration_table", "ids_rotate_current", "ids_rotate_new"}
"""Statements that need what the one before made, or make what the others need."""


@pytest.mark.parametrize("name", sorted(set(statements()) - IN_TURN))
def test_a_statement_fits_the_schema(schema: sqlite3.Connection, name: str) -> None:
    named = dict.fromkeys(re.findall(r"(?<![:\w]):(\w+)", sql(name)))
    places = len(set(re.findall(r"\?\d", sql(name)))) or sql(name).count("?")
    schema.execute("EXPLAIN " + sql(name), named or (None,) * places)


def test_every_statement_is_used() -> None:
    code = "\n".join(path.read_text() for path in HERE.glob("*.py"))
    assert {name for name in statements() if f'"{name}"' not in code} == set()


def test_the_ledger_brings_nothing_heavy_into_every_pod() -> None:
    code = "import sidecar.ledger.ledger, sys; print(*sorted(sys.modules))"
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", env={})
    heavy = {"platform", "uuid", "logging", "asyncio", "ctypes", "flask", "yaml", "jwt", "botocore", "socket", "email"}
    assert heavy.intersection(done.stdout.split()) == set()


def test_an_unknown_statement_is_an_error() -> None:
    with pytest.raises(KeyError):
        sql("drop_everything")


def test_every_table_is_strict(schema: sqlite3.Connection) -> None:
    tables = schema.execute(
        "SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    )
    assert {name for name, strict in tables if not strict} == set()


def test_a_trigger_with_its_body_is_one_statement() -> None:
    script = "-- A word; and more.\nCREATE TABLE a (b);\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n  SELECT 1;\nEND;\n"
    assert len(list(split(script))) == 2


def test_a_statement_without_an_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="without an end"):
        list(split("CREATE TABLE a (b)\n"))
