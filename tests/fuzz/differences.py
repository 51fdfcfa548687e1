"""List what our reader of HTTP, h11 and gunicorn's stock worker disagree on: `python -m tests.fuzz.differences`.

The inputs are the corpus and changes of it (`mutate`), all from one seed. Each class of disagreement is one row with
its shortest input; `--write` puts the table into the evidence.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.arguments import positive_integer

from . import http_target, mutate
from .http_target import Read, Verdict

CORPUS: Final = Path(__file__).parent / "corpus" / "http"
PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "evidence.md"
BEGIN: Final = "<!-- made by python -m tests.fuzz.differences --write: begin -->\n"
END: Final = "<!-- made by python -m tests.fuzz.differences --write: end -->"
SEED: Final = 1
INPUTS: Final = 100_000


class Class(NamedTuple):
    """One way to disagree: what ours says (a reason where it refuses), and what the others do."""

    ours: str
    h11: str
    gunicorn: str


def inputs(seed: int, count: int) -> Iterator[bytes]:
    """Yield the corpus, and changes of it until there are `count`."""
    chance, grammar = random.Random(seed), mutate.grammars()["http"]
    corpus = [one.read_bytes() for one in sorted(CORPUS.iterdir())]
    yield from corpus
    for _ in range(count - len(corpus)):
        yield mutate.changed(chance, chance.choice(corpus), grammar)


def classes(found: Iterable[bytes]) -> dict[Class, tuple[int, bytes]]:
    """Return each disagreement with the number of its inputs and the shortest one."""
    known: dict[Class, tuple[int, bytes]] = {}
    for data in found:
        ours, h11, gunicorn = first_difference(data)
        if len({_word(ours), _word(h11), _word(gunicorn)}) == 1:
            continue
        name = Class(ours if isinstance(ours, str) else _word(ours), _word(h11), _word(gunicorn))
        count, shortest = known.get(name, (0, data))
        known[name] = (count + 1, min(shortest, data, key=lambda one: (len(one), one)))
    return known


def first_difference(data: bytes) -> tuple[Verdict, Verdict, Verdict]:
    """Return what the three say of the first request that they see otherwise, or of the last."""
    ours, h11, gunicorn = (read(data) for read in (http_target.sidecar, http_target.other, http_target.gunicorn))
    said: tuple[Verdict, Verdict, Verdict] = (None, None, None)
    for said in zip(ours, h11, gunicorn, strict=False):
        if len(set(map(_word, said))) > 1:
            break
    return said


def _word(found: Verdict) -> str:
    if isinstance(found, Read):
        return "accepts"
    return "waits" if found is None else "refuses"


def table(found: Mapping[Class, tuple[int, bytes]]) -> str:
    """Return the table, sorted by what ours says."""
    rows = ["| Here | h11 | gunicorn | Inputs | The shortest |", "| --- | --- | --- | ---: | --- |"]
    for name, (count, shortest) in sorted(found.items()):
        ours = name.ours if name.ours in ("accepts", "waits") else f"refuses: `{name.ours}`"
        shown = ascii(shortest)[1:].replace("|", "\\x7c").replace("`", "\\x60")
        rows.append(f"| {ours} | {name.h11} | {name.gunicorn} | {count} | `{shown}` |")
    return "\n".join(rows) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differences", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="what every choice comes from (1)")
    parser.add_argument("--inputs", type=positive_integer, default=INPUTS, help="how many inputs are read (100000)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reference/evidence.md")
    given = parser.parse_args()
    text = table(classes(inputs(given.seed, given.inputs)))
    if not given.write:
        sys.stdout.write(text)
        return 0
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(
        f"{before}{BEGIN}\nSeed {given.seed}, {given.inputs} inputs:\n\n{text}\n{END}{rest.partition(END)[2]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
