"""Define one line of the tables that say what an answer to sent usage means for its record.

The lines are in `dispositions`, `license_dispositions` and `batch_dispositions`.
"""

from __future__ import annotations

from typing import Final

from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Disposition
from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table."""

    codes: tuple[str, ...]
    disposition: Disposition
    reason: str
    hint: str
    definite: bool = True
    slow: bool = False
    """A person must change something: sent again less often."""
    loud: bool = False
    """An error in the log, although it is sent again: usage waits until a person buys or corrects something."""
    once_more: bool = False
    """Sent again at once with fresh credentials, before the error counts."""
    repairs: tuple[Repair, ...] = ()
    """In this order; the first that would change the request is made."""


WAITS: Final = "Nothing to do at first; the same request is sent again."
HOLD: Final = Disposition.HOLD


def row(codes: str, disposition: Disposition, reason: str, hint: str, **rest: bool | tuple[Repair, ...]) -> Row:
    """Return a row; `codes` are separated by blanks."""
    return Row(codes=tuple(codes.split()), disposition=disposition, reason=reason, hint=hint, **rest)  # type: ignore[arg-type]
