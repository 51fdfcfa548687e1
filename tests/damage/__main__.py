"""Change one byte of a closed ledger, open it, send every event again and new ones, and say what came of it.

Invariants:
- One seed damages the same bytes in the same way, as far as the names and tokens in the ledger are the same length.
- A file is set aside, or everything in it is exact: amounts, sealed requests, repeats, and what is pushed afterwards
  and read by the next process. Anything else fails the command.
- The ledger has ids in the log, sorted in and of the generation before, and keys that are counted once.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from bench.arguments import positive_integer
from sidecar.cli.progress import Progress
from sidecar.ledger import seen_ids
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import Micros
from sidecar.quick_dataclasses import replace
from sidecar.settings.dimensions import Aggregation, Dimension
from tests.integration.ledger.support import make
from tests.power import usage
from tests.power.judge import pushed

PUSHES = 60
BEFORE_SEAL = 40
OLDER_IDS = 300
"""Ids of the generation before."""
IDS = 24 * seen_ids.SLICE_IDS
"""Ids of this generation. So many slices move, each with its share of what came until then: 150 ids, two pages."""
FRESH = 300
"""Ids that are pushed after the damage."""
AT = usage.begin_of(0)
EARLIER = AT - timedelta(seconds=seen_ids.GENERATION_SECONDS + 60)
LATER = AT + usage.LIFE / 2
DIMENSIONS = (*usage.DIMENSIONS, Dimension(name="users", aggregation=Aggregation.UNIQUE))
EXACT, AT_OPENING, IN_USE, WRONG = "exact", "set aside at opening", "set aside in use", "wrong"
COUNTED_AGAIN, CONFLICT = "repeats counted again", "repeats called a conflict"
Facts = tuple[object, ...]


def batch(name: str, count: int) -> tuple[UsageEvent, ...]:
    return tuple(UsageEvent("requests", Micros(1_000_000), id=f"{name}-{number}") for number in range(count))


USERS = tuple(UsageEvent("users", Micros(1_000_000), key=f"user-{number}") for number in range(40))
"""Events without ids: what keeps them from counting again is their key."""
NAMED = tuple(usage.events_of(f"p{number}") for number in range(PUSHES))
REPEATED = (batch("older", OLDER_IDS), *NAMED, *(batch(f"many{n}", seen_ids.SLICE_IDS) for n in range(24)))


def opened(directory: Path, now: datetime = LATER) -> Ledger:
    return Ledger.open(directory, usage.OWNER, DIMENSIONS, now)


def facts(ledger: Ledger) -> Facts:
    """What is billed: each amount, and each sealed request to the byte."""
    requests = sorted(one.request.as_json() for one in ledger.records() if one.request)
    return [replace(one, events=0) for one in ledger.balances()], requests, ledger.open_from()


def keep(ledger: Ledger, events: Sequence[UsageEvent], now: datetime) -> None:
    """Push events that a whole ledger takes."""
    result = ledger.push(events, now)
    assert isinstance(result, PushAccepted), result


def used(directory: Path) -> tuple[Path, Facts, Facts]:
    """A closed ledger with a sealed and an open hour; what is in it, and what will be after the fresh ids."""
    with closing(opened(directory, EARLIER)) as ledger:
        keep(ledger, REPEATED[0], EARLIER)
        for events in NAMED[:BEFORE_SEAL]:
            keep(ledger, events, AT)
        ledger.seal(Hour.at(AT), LATER, make(LATER, usage.OWNER.workload))
        for events in (*NAMED[BEFORE_SEAL:], *REPEATED[1 + PUSHES :], USERS):
            keep(ledger, events, LATER)
        right = facts(ledger)
    (path,) = directory.glob("ledger-*.sqlite3")
    content = path.read_bytes()
    with closing(opened(directory)) as ledger:
        keep(ledger, batch("fresh", FRESH), LATER)
        then = facts(ledger)
    path.write_bytes(content)
    return path, right, then


def outcome(directory: Path, right: Facts, then: Facts) -> str:
    """Open the ledger there, use it, open it again, and return what came of it."""
    for begin, found, fresh in ((right, EXACT, False), (then, EXACT, True)):
        try:
            ledger = opened(directory)
        except LedgerError as exc:
            return f"{WRONG}: {exc.reason} at opening"
        with closing(ledger):
            if ledger.set_aside:
                return IN_USE if fresh else AT_OPENING
            try:
                found = repeated(ledger, begin, then)
            except LedgerError as exc:
                found = f"{WRONG}: {exc.reason}"
            if ledger.set_aside:
                return IN_USE
            if found != EXACT:
                return found
    return EXACT


def repeated(ledger: Ledger, begin: Facts, then: Facts) -> str:
    """Send everything again, and the fresh ids; return what came of it."""
    if facts(ledger) != begin:
        return f"{WRONG}: amounts or requests"
    results = pushed(ledger, REPEATED, LATER)
    refused = {one.reason for one in results if isinstance(one, PushRefused)}
    if refused - {"id_conflict"}:
        return f"{WRONG}: {', '.join(sorted(refused))}"
    if refused:
        return CONFLICT
    if any(one.accepted for one in results if isinstance(one, PushAccepted)):
        return COUNTED_AGAIN
    pushed(ledger, [batch("fresh", FRESH), USERS], LATER)
    return EXACT if facts(ledger) == then else f"{WRONG}: amounts or requests afterwards"


def outcomes(seed: int, files: int, room: Path) -> Iterator[str]:
    """Yield what came of each file with one changed byte."""
    chance, (path, right, then) = random.Random(seed), used(room)
    content = path.read_bytes()
    for number in range(files):
        damaged, at = bytearray(content), chance.randrange(len(content))
        damaged[at] ^= chance.randrange(1, 256)
        directory = room / str(number)
        directory.mkdir()
        (directory / path.name).write_bytes(damaged)
        yield outcome(directory, right, then)
        shutil.rmtree(directory)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.damage",
        description=(__doc__ or "").split("\n", 1)[0],
        epilog="Exits with 0 where each file was set aside or exact, with 1 otherwise.",
    )
    parser.add_argument("--seed", type=int, default=1, help="which bytes are changed, and how (1)")
    parser.add_argument("--files", type=positive_integer, default=1000, help="how many files are damaged (1000)")
    asked = parser.parse_args(arguments)
    logging.disable()
    found, progress = Counter[str](), Progress()
    with tempfile.TemporaryDirectory() as room:
        for name in outcomes(asked.seed, asked.files, Path(room)):
            found[name] += 1
            progress.show(f"{found.total()} of {asked.files} files")
    progress.clear()
    for name, count in sorted(found.items()):
        print(f"{count:6} {name}")
    return any(name.startswith((WRONG, COUNTED_AGAIN, CONFLICT)) for name in found)


if __name__ == "__main__":
    raise SystemExit(main())
