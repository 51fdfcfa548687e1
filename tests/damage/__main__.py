"""Change one byte of a closed ledger, open it, send every event again, and say what came of it.

Invariants:
- One seed damages the same bytes in the same way, as far as the names and tokens in the ledger are the same length.
- A file is set aside, or its amounts and sealed requests are exact: anything else is `wrong`, and the command fails.
- Ids have no checksum: a repeat that counts again, or is called a conflict, is counted apart.
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
from pathlib import Path

from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.hours import Hour
from tests.integration.ledger.support import make
from tests.power import usage
from tests.power.judge import pushed

PUSHES = 60
BEFORE_SEAL = 40
AT = usage.begin_of(0)
LATER = AT + usage.LIFE / 2
EXACT, AT_OPENING, IN_USE, WRONG = "exact", "set aside at opening", "set aside in use", "wrong"
COUNTED_AGAIN, CONFLICT = "repeats counted again", "repeats called a conflict"
NAMES = tuple(f"p{number}" for number in range(PUSHES))


def opened(directory: Path) -> Ledger:
    return Ledger.open(directory, usage.OWNER, usage.DIMENSIONS, LATER)


def facts(ledger: Ledger) -> tuple[object, ...]:
    """What is billed: each amount, and each sealed request to the byte."""
    requests = sorted(one.request.as_json() for one in ledger.records() if one.request)
    return ledger.balances(), requests, ledger.open_from()


def used(directory: Path) -> tuple[Path, tuple[object, ...]]:
    """A closed ledger with a sealed and an open hour, and what is in it."""
    with closing(Ledger.open(directory, usage.OWNER, usage.DIMENSIONS, AT)) as ledger:
        for name in NAMES[:BEFORE_SEAL]:
            ledger.push(usage.events_of(name), AT)
        ledger.seal(Hour.at(AT), LATER, make(LATER, usage.OWNER.workload))
        for name in NAMES[BEFORE_SEAL:]:
            ledger.push(usage.events_of(name), LATER)
        right = facts(ledger)
    (path,) = directory.glob("ledger-*.sqlite3")
    return path, right


def outcome(directory: Path, right: tuple[object, ...]) -> str:
    """Open the ledger there, send everything again, and return what came of it."""
    try:
        ledger = opened(directory)
    except LedgerError as exc:
        return f"{WRONG}: {exc.reason} at opening"
    with closing(ledger):
        if ledger.set_aside:
            return AT_OPENING
        try:
            before = facts(ledger)
            results = pushed(ledger, [usage.events_of(name) for name in NAMES], LATER)
        except LedgerError as exc:
            return IN_USE if ledger.set_aside else f"{WRONG}: {exc.reason}"
        if ledger.set_aside:
            return IN_USE
        if before != right:
            return f"{WRONG}: amounts or requests"
        refused = {one.reason for one in results if isinstance(one, PushRefused)}
        if refused - {"id_conflict"}:
            return f"{WRONG}: {', '.join(sorted(refused))}"
        if refused:
            return CONFLICT
        return COUNTED_AGAIN if any(one.accepted for one in results if isinstance(one, PushAccepted)) else EXACT


def outcomes(seed: int, files: int, room: Path) -> Iterator[str]:
    """Yield what came of each file with one changed byte."""
    chance, (path, right) = random.Random(seed), used(room)
    content = path.read_bytes()
    for number in range(files):
        damaged, at = bytearray(content), chance.randrange(len(content))
        damaged[at] ^= chance.randrange(1, 256)
        directory = room / str(number)
        directory.mkdir()
        (directory / path.name).write_bytes(damaged)
        yield outcome(directory, right)
        shutil.rmtree(directory)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", type=int, default=1000)
    asked = parser.parse_args(arguments)
    logging.disable()
    with tempfile.TemporaryDirectory() as room:
        found = Counter(outcomes(asked.seed, asked.files, Path(room)))
    for name, count in sorted(found.items()):
        print(f"{count:6} {name}")
    return any(name.startswith(WRONG) for name in found)


if __name__ == "__main__":
    raise SystemExit(main())
