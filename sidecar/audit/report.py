"""Write what a comparison came to as tables for people and scripts, and as JSON for machines.

Invariants:
- A table is tab-separated, one line a row; nothing that others wrote can break a line or move the cursor.
- Differences are written as they come: there may be millions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sidecar.audit.outcome import Outcome
from sidecar.printable import one_line

COLUMNS: Final = {
    "KIND": "kind",
    "SOURCE": "source",
    "WHEN": "when",
    "DIMENSION": "dimension",
    "REGION": "region",
    "OURS": "ours",
    "BILLED": "billed",
    "STATE": "state",
    "RECORD_ID": "metering_record_id",
    "WORKLOAD": "workload",
    "NOTE": "note",
}
"""Column of the table → field of a difference."""
EMPTY_CELL: Final = "-"


def tables(outcome: Outcome, differences: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the totals, then the differences where there are any, line by line."""
    names = ["ours", *(one.value for one in outcome.compared)]
    yield _line(["DIMENSION", *(name.upper() for name in names)])
    for row in outcome.totals():
        yield _line([row["dimension"], *(row[name] for name in names)])
    if not outcome.equal:
        yield "\n"
        yield _line(list(COLUMNS))
        for one in differences:
            yield _line([one[name] for name in COLUMNS.values()])


def summary(outcome: Outcome) -> Iterator[str]:
    """Yield what was read, what was ignored, and the result, line by line."""
    for name, read in outcome.read().items():
        ignored = ", ".join(f"{count} {reason}" for reason, count in dict(read["ignored"]).items())  # type: ignore[call-overload]
        rest = f"; ignored: {ignored}" if ignored else ""
        yield f"{name}: {read['files']} files, {read['lines']} lines, {read['records']} compared{rest}\n"
    for note in outcome.all_notes:
        yield f"note: {one_line(note)}\n"
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.counts.items()))
    yield f"different: {counts}\n" if counts else "equal\n" if outcome.compared else "no contradiction\n"


def as_json(outcome: Outcome, differences: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one JSON document, piece by piece."""
    head = {
        "equal": outcome.equal,
        "compared": [one.value for one in outcome.compared],
        "read": outcome.read(),
        "notes": outcome.all_notes,
        "totals": outcome.totals(),
        "counts": dict(sorted(outcome.counts.items())),
    }
    yield json.dumps(head)[:-1] + ', "differences": ['
    separator = ""
    for one in differences:
        yield separator + json.dumps(one)
        separator = ", "
    yield "]}\n"


def _line(cells: Iterable[object]) -> str:
    return "\t".join(one_line(str(cell)) if cell not in (None, "") else EMPTY_CELL for cell in cells) + "\n"
