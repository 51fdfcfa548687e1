"""Read the audit copy page by page: sealed records, oldest hour first, then what is open, then totals.

Invariants:
- Every record that was there at the first page is on one page, whatever is sealed or answered meanwhile: a record's
  place never changes.
- What is open, and the totals, are of the instant of the last page. An hour that is sealed while its place has been
  passed is on no page: the next export has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection, tuple_

from sidecar.saas import balance
from sidecar.saas.record_rows import record_of, whole
from sidecar.saas.store import ExportPage
from sidecar.saas.tables import usage_record
from sidecar.settings.dimensions import Dimension

PLACE: Final = re.compile(r"(?P<hour>\d{1,9}):(?P<customer>\d{1,18}):(?P<dimension>.{1,255})", re.ASCII)
PAGE: Final = 1000
"""Records on a page: about half a megabyte of JSON."""


class Place(NamedTuple):
    """Where a record is, among all of them."""

    hour: int
    customer: int
    dimension: str

    @property
    def text(self) -> str:
        """What leads to the page behind it: hour, the customer's number and the dimension, with colons between."""
        return f"{self.hour}:{self.customer}:{self.dimension}"


def place_of(text: str) -> Place | None:
    """Return the place that a text names, None for an empty one. Raises ValueError for any other text."""
    if not text:
        return None
    found = PLACE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not hour, customer and dimension")
    return Place(int(found["hour"]), int(found["customer"]), found["dimension"])


def page(connection: Connection, dimensions: Mapping[str, Dimension], after: Place | None, size: int) -> ExportPage:
    """Return at most `size` sealed records behind a place; the last page has what is open and the totals too."""
    r = usage_record.c
    query = whole().order_by(r.hour, r.customer, r.dimension).limit(size)
    if after is not None:
        behind = tuple_(r.hour, r.customer, r.dimension) > after
        query = query.where(r.hour >= after.hour, behind)  # the former is for the index
    rows = connection.execute(query).all()
    records = tuple(map(record_of, rows))
    if len(rows) == size:
        last = rows[-1]
        return ExportPage(records, (), Place(last.hour, last.customer, last.dimension).text)
    opened = balance.open_records(connection, dimensions)
    return ExportPage((*records, *opened), balance.balances(connection, dimensions), "")
