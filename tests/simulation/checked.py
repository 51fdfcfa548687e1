"""Remember what a check of a ledger's rows came to, for as long as its rows are the same.

Each start of a container checks its own ledger and each other one on the volume, row by row. Here most of them are as
they were at the last check.

Invariants:
- Every state of a file is checked once, by the product's own code. A row that changes makes it another state.
- Nothing of the product is skipped but reading: a check writes nothing, and is no step at which a container is killed.
"""

from __future__ import annotations

import sqlite3

from sidecar.ledger import integrity
from tests.simulation.disk import Connection, Disk

State = tuple[int, int]
"""The version of the rows, and that of the schema."""


class Checks:
    """Takes the place of `integrity.check`."""

    def __init__(self, disk: Disk) -> None:
        """Begin with nothing checked."""
        self._disk = disk
        self._good: dict[str, State] = {}

    def __call__(self, connection: sqlite3.Connection, version: int) -> None:
        """Check a file. Raises sqlite3.DatabaseError."""
        if not isinstance(connection, Connection):
            _check(connection, version)
            return
        state = self._disk.versions[connection.path], version
        if self._good.get(connection.path) != state:
            _check(connection, version)
            self._good[connection.path] = state


_check = integrity.check
