"""Parse JSON strictly into plain values, with numbers as they were written.

Invariants:
- No number passes through a float or an int: what a product reports is billed to the last digit.
- A fault inside (a name given twice, NaN) becomes a value that fits nowhere, not an exception, so that the reader can
  still count events first and name the one at fault.

Sources: RFC 8259, §4 (names should be unique) and §6 (numbers; NaN and Infinity are not permitted).
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from sidecar.quick_dataclasses import dataclass

WHITE_SPACE: Final = " \t\n\r"
BOM: Final = "\ufeff"
"""RFC 8259, section 8.1: a parser may ignore it."""


class JsonNumber(NamedTuple):
    """A number as it was written. No `str`, so that it cannot be taken for a string."""

    text: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """An object that gives one name twice."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """NaN, Infinity or -Infinity."""

    text: str


def parse(text: str) -> object:
    """Return the document; a byte order mark before it is ignored. Raises ValueError saying where it is no JSON."""
    text = text.removeprefix(BOM)
    try:
        return _document(text)
    except RecursionError:
        raise ValueError("is nested too deeply.") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"is not JSON: {exc.msg} at character {exc.pos}.") from None


def _document(text: str) -> object:
    """Return the document. `decode` does the same, and takes half as long again to look for white space around it."""
    if text[:1] in WHITE_SPACE:
        return DECODER.decode(text)
    found, end = DECODER.raw_decode(text)
    if end < len(text) and (rest := text[end:].lstrip(WHITE_SPACE)):
        raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    return found


def shown(value: object) -> str:
    """Return a value for a message, cut to a length a log line stands."""
    if isinstance(value, JsonNumber | Constant):
        words = value.text
    elif isinstance(value, Repeated):
        words = f"an object that gives {shown(value.name)} twice"
    elif isinstance(value, dict):
        words = "an object"
    elif isinstance(value, list):
        words = "an array"
    elif value is None or isinstance(value, bool):
        words = json.dumps(value)
    elif isinstance(value, str):
        cut = value if len(value) <= SHOWN_MAX else value[:SHOWN_MAX] + "…"
        return json.dumps(cut, ensure_ascii=not cut.isprintable())  # half a surrogate pair can be written nowhere
    else:
        words = repr(value)
    return words if len(words) <= SHOWN_MAX else words[:SHOWN_MAX] + "…"


def _object(pairs: list[tuple[str, object]]) -> object:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            break
        seen.add(name)
    return Repeated(name)


SHOWN_MAX: Final = 80
"""Characters of a value that are repeated to its sender."""

DECODER: Final = json.JSONDecoder(
    parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=Constant, object_pairs_hook=_object
)
