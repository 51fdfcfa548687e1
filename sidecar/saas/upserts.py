"""Insert rows, or merge them into those that are there, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY


def insert(connection: Connection, table: Table) -> Any:
    """Return an INSERT that knows ON CONFLICT: the two databases spell it alike."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, object]],
    merged: Callable[[Any], dict[str, Any]] | None = None,
    returning: Iterable[Column[Any]] = (),
) -> Sequence[Row[Any]]:
    """Insert rows in their order; what is there already becomes what `merged` makes of it and the row, or stays.

    Return the columns `returning` of the rows that were written, in any order.

    PostgreSQL gets one statement for all rows: from the first one on other replicas wait for this transaction, and
    they should not wait for this process to send each row.
    """
    statement = insert(connection, table)
    values: Any = rows
    if connection.dialect.name == "postgresql":
        names = list(rows[0])
        arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
        each = func.unnest(*arrays).table_valued(*names, name="each").render_derived()
        statement = statement.from_select(names, select(each))
        values = {name: [row[name] for row in rows] for name in names}
    keys = list(table.primary_key)
    writing = (
        statement.on_conflict_do_update(index_elements=keys, set_=merged(statement.excluded))
        if merged
        else statement.on_conflict_do_nothing()
    )
    wanted = tuple(returning)
    found = connection.execute(writing.returning(*wanted) if wanted else writing, values)
    return found.all() if wanted else ()


def added(table: Table, columns: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
    """Return how to merge rows whose columns are counts: they are added up."""
    return lambda new: {name: table.c[name] + new[name] for name in columns}
