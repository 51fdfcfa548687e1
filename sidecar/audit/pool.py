"""Hold records that look for their billing, found by client token or by quantity without reading all of them. Pure.

Invariants:
- Of several that fit, the first that came is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sidecar.audit.rows import Row

Fits = Callable[[Row], bool]


class Pool:
    """Records of ours in the order in which they came."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._by_quantity: dict[int, dict[Row, None]] = {}
        self._by_token: dict[str, Row] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add a record."""
        self._by_quantity.setdefault(row.quantity, {})[row] = None
        for token in row.tokens.split():
            self._by_token.setdefault(token, row)

    def remove(self, row: Row) -> None:
        """Remove a record."""
        del self._by_quantity[row.quantity][row]
        for token in row.tokens.split():
            if self._by_token.get(token) == row:
                del self._by_token[token]

    def has(self, row: Row) -> bool:
        """Return whether a record has not been removed."""
        return row in self._by_quantity.get(row.quantity, ())

    def with_token(self, token: str) -> Row | None:
        """Return the record with a request of this client token; none has an empty one."""
        return self._by_token.get(token)

    def with_quantity(self, quantity: int, fits: Fits) -> Row | None:
        """Return the first record of this quantity that fits."""
        return next((row for row in self._by_quantity.get(quantity, ()) if fits(row)), None)

    def rows(self) -> list[Row]:
        """Return all that are left."""
        return [row for rows in self._by_quantity.values() for row in rows]
