"""What a commit of the ledger takes of the processor, by statement: real file, real fsync, nothing beside it."""

from __future__ import annotations

import argparse
import collections
import re
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lib import Setup
from where_table import table

from sidecar.ledger import id_memory, opening, seen_ids
from sidecar.ledger.bounds import Bounds
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.pushes import PushRequest, apply_group
from sidecar.ledger.statements import statements
from sidecar.metering.events import PushRefused, parse_events
from sidecar.settings.dimensions import Dimension

ROWS: Final = re.compile(r"(\(\?(?:, \?)*\))(?:, \1)+")
"""Rows of values: a statement for several has the name of that for one."""
DIMENSIONS: Final = {"requests": Dimension(name="requests", tags=("tenant",))}
OWNER: Final = opening.Owner(workload="bench", product_code="prod1", region="us-east-1")
WAITING: Final = id_memory.SLICES * seen_ids.SLICE_IDS
"""Events of one shape before those that count: from then on earlier ids are sorted in."""
STEP: Final = 617
"""Between the tag sets of two events: they are neighbours in no index."""
EVENTS: Final = 30_000
"""Events of one shape that count."""
SHAPES: Final = (
    ("13 single events", 13, 1, 5),
    ("… of 1 000 tag sets", 13, 1, 1_000),
    ("4 pushes of 100", 4, 100, 5),
)
"""Name, pushes, events of a push, tag sets. Under load a commit has about 13 single events."""
PYTHON: Final = "Python, between the statements"


class Timed:
    """A connection that counts the processor's time of each statement, in nanoseconds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._names = {text: name for name, text in statements().items()}
        self.took: collections.Counter[str] = collections.Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        return self._run(self._connection.execute, text, *values)

    def executemany(self, text: str, *values: Any) -> sqlite3.Cursor:
        return self._run(self._connection.executemany, text, *values)

    def _run(self, run: Any, text: str, *values: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return run(text, *values)
        finally:
            took = time.thread_time_ns() - began
            self.took[f"`{self._name(text)}`"] += took

    def _name(self, text: str) -> str:
        if text not in self._names:
            one_row = ROWS.sub(r"\1", text)
            self._names[text] = self._names.get(one_row, one_row)
        return self._names[text]


def commit(setup: Setup, options: argparse.Namespace) -> None:
    """Print what each statement of a commit takes, for each shape."""
    found = {name: _one(pushes, events, tag_sets) for name, pushes, events, tag_sets in SHAPES}
    names = collections.Counter[str]()
    for took in found.values():
        names.update(took)
    rows = [(name, *(f"{took.get(name, 0.0):.1f}" for took in found.values())) for name, _ in names.most_common()]
    rows.append(("all", *(f"{sum(took.values()):.0f}" for took in found.values())))
    table("A commit, in µs of the processor", ("statement", *found), rows)


def _one(pushes: int, events: int, tag_sets: int) -> dict[str, float]:
    """Return what each statement takes for one commit of this shape, in microseconds."""
    now = datetime.now(UTC)
    groups = list(_groups(now, pushes, events, tag_sets))
    before = WAITING // (pushes * events)
    aggregations = {name: dimension.aggregation for name, dimension in DIMENSIONS.items()}
    bounds = Bounds()
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as directory:
        ledger = Ledger.open(Path(directory), OWNER, tuple(DIMENSIONS.values()), now)
        ledger.close()
        opened = opening.open_ledger(ledger.path, OWNER, now)
        timed = Timed(opened.connection)
        for number, group in enumerate(groups):
            if number == before:
                timed.took.clear()
                began = time.thread_time_ns()
            timed.execute("BEGIN IMMEDIATE")
            results = apply_group(timed, group, aggregations, bounds)  # type: ignore[arg-type]
            timed.execute("COMMIT")
            if any(isinstance(result, PushRefused) for result in results):
                raise SystemExit(f"refused: {results}")
        all_of_it = time.thread_time_ns() - began
        opened.connection.close()
        opened.lock.release()
    timed.took[PYTHON] = all_of_it - timed.took.total()
    return {name: ns / 1000 / (len(groups) - before) for name, ns in timed.took.items()}


def _groups(now: datetime, pushes: int, events: int, tag_sets: int) -> Iterator[list[PushRequest]]:
    for first in range(0, WAITING + EVENTS, pushes * events):
        yield [_request(now, first + n * events, events, tag_sets) for n in range(pushes)]


def _request(now: datetime, first: int, events: int, tag_sets: int) -> PushRequest:
    sent = ",".join(
        f'{{"dimension":"requests","quantity":"1","id":"{uuid.uuid4()}","tags":{{"tenant":"t{n % tag_sets:04d}"}}}}'
        for n in range(first * STEP, (first + events) * STEP, STEP)
    )
    read = parse_events(f"[{sent}]".encode(), DIMENSIONS, now)
    if isinstance(read, PushRefused):
        raise SystemExit(read.detail)
    return PushRequest(read, now)
