"""List what our reader of HTTP, h11 and gunicorn's stock worker disagree on: `python -m tests.fuzz.differences`.

The inputs are the corpus and changes of it, all from one seed: fragments put in, lines doubled and left out, bytes
changed. Each class of disagreement is one row with its shortest input; `--write` puts the table into the evidence.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from . import http_target
from .http_target import Read, Verdict

CORPUS: Final = Path(__file__).parent / "corpus" / "http"
PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "evidence.md"
BEGIN: Final = "<!-- made by python -m tests.fuzz.differences --write: begin -->\n"
END: Final = "<!-- made by python -m tests.fuzz.differences --write: end -->"
SEED: Final = 1
INPUTS: Final = 10_000
FRAGMENTS: Final = (
    b"\r\n", b"\n", b"\r", b"\t", b" ", b"\0", b"\x7f", b"\xff", b":", b";a=b", b",", b"+", b"-0", b"0x", b"%00", b"#f",
    b"Host: a\r\n", b"Content-Length: 1\r\n", b"Content-Length: 01\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Expect: 100-continue\r\n", b"X_Y: 1\r\n", b" folded\r\n", b"HTTP/1.0",
    b"HTTP/2.0", b"0\r\n\r\n", b"a\r\n0123456789\r\n", b"GET http://b/ HTTP/1.1\r\n", b"CONNECT b:1 HTTP/1.1\r\n",
)  # fmt: skip


class Class(NamedTuple):
    """One way to disagree: what ours says (a reason where it refuses), and what the others do."""

    ours: str
    h11: str
    gunicorn: str


def changed(chance: random.Random, data: bytes) -> bytes:
    """Return the bytes with one to three changes."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(data))
        lines = data.split(b"\r\n")
        line = chance.randrange(len(lines))
        data = chance.choice(
            (
                data[:at] + chance.choice(FRAGMENTS) + data[at:],
                data[:at] + data[at + 1 :],
                data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
                b"\r\n".join([*lines[:line], *lines[line + 1 :]]),
                b"\r\n".join([*lines[: line + 1], *lines[line:]]),
            )
        )
    return data


def inputs(seed: int, count: int) -> Iterator[bytes]:
    """Yield the corpus, and changes of it until there are `count`."""
    chance, corpus = random.Random(seed), [one.read_bytes() for one in sorted(CORPUS.iterdir())]
    yield from corpus
    for _ in range(count - len(corpus)):
        yield changed(chance, chance.choice(corpus))


def classes(found: Iterable[bytes]) -> dict[Class, tuple[int, bytes]]:
    """Return each disagreement with the number of its inputs and the shortest one."""
    known: dict[Class, tuple[int, bytes]] = {}
    for data in found:
        ours, h11, gunicorn = (one(data) for one in (http_target.sidecar, http_target.other, http_target.gunicorn))
        if len({_word(ours), _word(h11), _word(gunicorn)}) == 1:
            continue
        name = Class(ours if isinstance(ours, str) else _word(ours), _word(h11), _word(gunicorn))
        count, shortest = known.get(name, (0, data))
        known[name] = (count + 1, min(shortest, data, key=lambda one: (len(one), one)))
    return known


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
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many inputs are read (10000)")
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
