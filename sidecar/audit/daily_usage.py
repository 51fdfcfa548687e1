"""Read AWS's side from the Daily Usage data feed, a CSV file.

Invariants:
- The header names the columns: their order does not matter, those we do not need are ignored, those we need and miss
  are named all at once.
- A quantity is read exactly, whatever it is written with.

Sources: as `feed`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import IO, Final

from sidecar.audit.feed import COLUMNS, REQUIRED, FeedRow
from sidecar.audit.input_files import OUTSIDE, Advance, Period, Reading, Unreadable, opened, size_of
from sidecar.metering.quantities import MICROS_PER_UNIT, WRITTEN_MAX
from sidecar.strict_json import shown

DAY: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?:[T ].*)?")
QUANTITY: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
OTHER_PRODUCT: Final = "other_product"
OTHER_ACCOUNT: Final = "other_account"


class FeedRows:
    """Reads a Daily Usage feed."""

    def __init__(
        self,
        reading: Reading,
        period: Period,
        advance: Advance,
        columns: Mapping[str, str],
        product: str = "",
        account: str = "",
    ) -> None:
        """`columns`: names that differ from AWS's; `product`, `account`: the only ones compared, if not empty."""
        self._reading, self._period, self._advance = reading, period, advance
        self._names = {**COLUMNS, **columns}
        self._product, self._account = product, account
        self.products: set[str] = set()

    def read(self, name: str) -> Iterator[FeedRow]:
        """Yield the lines that are compared. Raises TooManyFaults."""
        faults = len(self._reading.faults)
        with opened(name, self._reading) as (content, raw):
            if len(self._reading.faults) > faults:
                return  # it was not opened: its header lacks nothing
            try:
                yield from self._rows(name, content, raw)
            except (csv.Error, UnicodeDecodeError) as exc:
                place = f"{name}, line {self._reading.lines + 2}"
                self._reading.fault(place, ValueError(f"is not CSV in UTF-8: {exc}."))

    def _rows(self, name: str, content: IO[bytes], raw: IO[bytes]) -> Iterator[FeedRow]:
        rows = csv.reader(io.TextIOWrapper(content, "utf-8-sig", newline=""), strict=True)
        places = self._places(name, next(rows, []))
        size = size_of(raw)
        for cells in rows if places else ():
            if not cells:  # an empty line, as editors leave one at the end
                continue
            self._reading.lines += 1
            if self._reading.lines % 4096 == 0:
                self._advance(name, 0, size)
            try:
                row = self._row(cells, places, f"{name}:{rows.line_num}")
            except Unreadable as exc:
                self._reading.fault(f"{name}, line {rows.line_num}", exc)
                continue
            if self._compared(row):
                yield row

    def _places(self, name: str, header: Sequence[str]) -> dict[str, int]:
        """Return where each column is; nothing where one is missing, which becomes a fault."""
        found = {role: header.index(column) for role, column in self._names.items() if column in header}
        missing = [f"{self._names[role]} ({role})" for role in REQUIRED if role not in found]
        if missing:
            begin = ", ".join(header[:8]) or "nothing"
            rule = "Give --feed-column ROLE=NAME for a column of another name."
            fault = f"the header lacks {', '.join(missing)}; it begins with {begin}. {rule}"
            self._reading.fault(f"{name}, line 1", Unreadable(fault))
            return {}
        twice = [self._names[role] for role in found if header.count(self._names[role]) > 1]
        if twice:
            self._reading.fault(f"{name}, line 1", Unreadable(f"the header has {twice[0]} twice."))
            return {}
        return found

    def _row(self, cells: Sequence[str], places: Mapping[str, int], origin: str) -> FeedRow:
        last = max(places.values())
        if len(cells) <= last:
            raise Unreadable(f"has {len(cells)} cells; the header needs {last + 1}.")
        values = {role: cells[places[role]] if role in places else "" for role in COLUMNS}
        day = values["day"]
        if not DAY.fullmatch(day):
            raise Unreadable(f"{self._names['day']} is {shown(day)}; it must be a day, as 2026-11-20.")
        if not values["dimension"]:
            raise Unreadable(f"{self._names['dimension']} is empty.")
        quantity = feed_quantity(values.pop("quantity"), self._names["quantity"])
        values |= {"day": day[:10], "usage": values["usage"] or origin}
        return FeedRow(quantity=quantity, **values)

    def _compared(self, row: FeedRow) -> bool:
        reason = "" if self._period.has_day(row.day) else OUTSIDE
        if self._product and row.product != self._product:
            reason = OTHER_PRODUCT
        elif self._account and row.account != self._account:
            reason = OTHER_ACCOUNT
        elif not reason and row.product:
            self.products.add(row.product)
        if reason:
            self._reading.ignored[reason] += 1
            return False
        self._reading.rows += 1
        return True


def feed_quantity(words: str, name: str) -> int:
    """Return a quantity in micros. Raises Unreadable."""
    if QUANTITY.fullmatch(words) and len(words) <= WRITTEN_MAX:
        try:
            micros = Decimal(words) * MICROS_PER_UNIT
            if micros == int(micros):
                return int(micros)
        except InvalidOperation:
            pass
    raise Unreadable(f"{name} is {shown(words)}; it must be a number with at most six decimal places, as 24.00.")
