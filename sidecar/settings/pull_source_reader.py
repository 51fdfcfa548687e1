"""Read the sources that usage is pulled from: each field by itself, from JSON text or a YAML list.

Invariants:
- Every fault is reported at once, each with its position, its value and the rule.
- A URL with a user or a password is refused, and its fault does not repeat it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeVar
from urllib.parse import urlsplit

from sidecar.settings.dimensions import NAME_MAX, positive_decimal
from sidecar.settings.pull_sources import (
    FIELDS,
    REQUIRED,
    TAKES,
    Pairs,
    PullSource,
    SourceBegin,
    SourceCount,
    SourceKind,
    SourceTake,
)
from sidecar.strict_json import JsonNumber, Repeated, parse, shown

SOURCES_MAX: Final = 24
INTERVAL: Final = (5, 3600)
"""Seconds between two readings."""
INTEGRAL_SECONDS_MAX: Final = 300
"""Between two readings of an integral: time above ten minutes is not counted, and one reading may fail."""
PAIRS_MAX: Final = 20
URL_MAX: Final = 2048
METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,254}")
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,254}")
SELECTOR: Final = re.compile(r"[\x20-\x7e]{0,1024}")
NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?|\*")

E = TypeVar("E", bound=Enum)


class SourcesFault(ValueError):
    """Every fault in the sources, each with its position."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(faults))


def read_pull_sources(value: object) -> tuple[PullSource, ...]:
    """Return the sources in a setting's value, in its order. Raises SourcesFault."""
    faults: list[str] = []
    read = [one for at, item in enumerate(_items(value)) if (one := _source(item, f"[{at}]", faults))]
    if len(read) > SOURCES_MAX:
        faults.append(f"{len(read)} sources are named; up to {SOURCES_MAX} are allowed.")
    keys = [one.key for one in read]
    for one in read:
        if keys.count(one.key) > 1:
            faults.append(f"{one} is given twice: its usage would be billed twice.")
            break
    if faults:
        raise SourcesFault(faults)
    return tuple(read)


def schema() -> dict[str, object]:
    """Return the JSON Schema of the sources in a file."""
    of_kind = [_kind_schema(kind) for kind in SourceKind]
    return {
        "oneOf": [{"type": "string", "minLength": 1},
                  {"type": "array", "maxItems": SOURCES_MAX, "items": {"oneOf": of_kind}}]
    }  # fmt: skip


def _kind_schema(kind: SourceKind) -> dict[str, object]:
    takes = [one.value for one in TAKES.get(kind, ())]
    properties = {**PROPERTIES, "take": {"type": "string", "enum": takes}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", *REQUIRED[kind]],
        "properties": {"kind": {"const": kind.value}, **{name: properties[name] for name in FIELDS[kind]}},
    }


PROPERTIES: Final[Mapping[str, dict[str, object]]] = {
    "dimension": {"type": "string", "minLength": 1, "maxLength": NAME_MAX, "description": "one of the dimensions"},
    "url": {"type": "string", "pattern": "^https?://", "maxLength": URL_MAX, "description": "the page of metrics"},
    "metric": {"type": "string", "pattern": f"^{METRIC.pattern}$", "description": "as the samples on the page have it"},
    "labels": {
        "type": "object",
        "maxProperties": PAIRS_MAX,
        "additionalProperties": {"type": "string"},
        "description": "label: value that a series must have; the series that have all of them are added up",
    },
    "tags": {
        "type": "object",
        "maxProperties": PAIRS_MAX,
        "additionalProperties": {"type": "string", "pattern": f"^{LABEL.pattern}$"},
        "description": "tag key: label whose value the tag gets",
    },
    "begin": {
        "type": "string",
        "enum": [one.value for one in SourceBegin],
        "default": "auto",
        "description": "where a counter that was never read is counted from: zero, or auto, which is zero where it is"
        " known to have begun with this workload, else its first reading",
    },
    "quantity": {"type": ["string", "number"], "default": 1, "description": "of each hour"},
    "count": {"type": "string", "enum": [one.value for one in SourceCount]},
    "selector": {
        "type": "string",
        "pattern": r"^[\x20-\x7e]*$",
        "maxLength": 1024,  # Helm's regular expressions (RE2) repeat up to 1000 times
        "description": "label selector of Kubernetes",
    },
    "namespace": {
        "type": "string",
        "pattern": f"^({NAMESPACE.pattern})$",
        "description": "of the pods; default: the pod's own; *: all",
    },
    "interval_seconds": {"type": "integer", "minimum": INTERVAL[0], "maximum": INTERVAL[1], "default": 30},
}
"""Field → its JSON Schema, but for `take`."""


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        try:
            value = parse(value.strip() or "null")
        except ValueError as exc:
            raise SourcesFault([str(exc)]) from None
    if not isinstance(value, list):
        raise SourcesFault([f"{shown(value)} is not a list of sources, each {{kind: …, dimension: …}}."])
    return value


def _source(item: object, where: str, faults: list[str]) -> PullSource | None:
    if isinstance(item, Repeated):
        faults.append(f"{where} gives {shown(item.name)} twice.")
        return None
    if not isinstance(item, dict):
        faults.append(f"{where} is {shown(item)}, not a mapping of kind, dimension and more.")
        return None
    try:
        kind = _member(SourceKind, item.get("kind"))
    except ValueError as exc:
        faults.append(f"{where}.kind: {exc}")
        return None
    before = len(faults)
    found = _read_fields({name: value for name, value in item.items() if name != "kind"}, kind, where, faults)
    return PullSource(kind=kind, **found) if len(faults) == before else None  # type: ignore[arg-type]


def _read_fields(given: Mapping[str, object], kind: SourceKind, where: str, faults: list[str]) -> dict[str, object]:
    """Read each field by itself; a wrong one adds a fault."""
    found: dict[str, object] = {}
    for name, value in given.items():
        if name not in FIELDS[kind]:
            allowed = ", ".join(FIELDS[kind])
            faults.append(f"{where}.{name} is not a field of kind {kind.value}: {allowed}.")
            continue
        try:
            found[name] = READERS[name](value)
        except ValueError as exc:
            faults.append(f"{where}.{name}: {exc}")
    faults += [f"{where}.{name} is missing." for name in REQUIRED[kind] if name not in given]
    take = found.get("take")
    if isinstance(take, SourceTake) and take not in TAKES[kind]:
        allowed = " or ".join(one.value for one in TAKES[kind])
        faults.append(f"{where}.take is {take.value}; kind {kind.value} takes {allowed}.")
    seconds = found.get("interval_seconds")
    if take is SourceTake.INTEGRAL and isinstance(seconds, int) and seconds > INTEGRAL_SECONDS_MAX:
        rule = f"an integral is read at least every {INTEGRAL_SECONDS_MAX} seconds: longer gaps are not counted."
        faults.append(f"{where}.interval_seconds is {seconds}; {rule}")
    if take is SourceTake.MAXIMUM and found.get("tags"):
        faults.append(f"{where}.tags: the shares of a maximum do not add up to it; remove them.")
    if found.get("count") is SourceCount.NODES and found.get("namespace"):
        faults.append(f"{where}.namespace is {shown(found['namespace'])}, but nodes are in no namespace; remove it.")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text; put it in quotes.")
    if not value.strip() or not value.isprintable() or len(value) > NAME_MAX:
        raise ValueError(f"{shown(value)} is not 1 to {NAME_MAX} printable characters.")
    return value.strip()


def _url(value: object) -> str:
    """Return an http or https URL. Raises ValueError that does not repeat a password."""
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not text.isascii() or not text.isprintable() or " " in text or len(text) > URL_MAX:
        raise ValueError(f"{'what is given' if '@' in text else shown(value)} is not an http:// or https:// URL.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("holds a user, a password or a fragment; settings are shown, and none of them is sent.")
    return text


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{shown(value)} is not {what}.")
        return value

    return read


def _pairs(read_key: Callable[[object], str], read_value: Callable[[object], str]) -> Callable[[object], Pairs]:
    def read(value: object) -> Pairs:
        if not isinstance(value, dict) or len(value) > PAIRS_MAX:
            raise ValueError(f"{shown(value)} is not a mapping of text to text with up to {PAIRS_MAX} entries.")
        return tuple(sorted((read_key(key), read_value(one)) for key, one in value.items()))

    return read


def _label_value(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text; put it in quotes.")
    return value


def _seconds(value: object) -> int:
    text = value.text if isinstance(value, JsonNumber) else "" if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[0-9]{1,6}", text) or not INTERVAL[0] <= int(text) <= INTERVAL[1]:
        raise ValueError(f"{shown(value)} is not a whole number of seconds from {INTERVAL[0]} to {INTERVAL[1]}.")
    return int(text)


def _member(kind: type[E], value: object) -> E:
    for member in kind:
        if isinstance(value, str) and value.strip().lower() == member.value:
            return member
    raise ValueError(f"{shown(value)} is not one of: {', '.join(str(member.value) for member in kind)}.")


_LABEL: Final = _matching(LABEL, "the name of a label: letters, digits and _")
READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "dimension": _text,
    "url": _url,
    "metric": _matching(METRIC, "the name of a metric: letters, digits, _ and :"),
    "take": lambda value: _member(SourceTake, value),
    "labels": _pairs(_LABEL, _label_value),
    "tags": _pairs(_text, _LABEL),
    "begin": lambda value: _member(SourceBegin, value),
    "quantity": positive_decimal,
    "count": lambda value: _member(SourceCount, value),
    "selector": _matching(SELECTOR, "a label selector of printable ASCII characters, up to 1024"),
    "namespace": _matching(NAMESPACE, "the name of a namespace, nor *"),
    "interval_seconds": _seconds,
}
"""Field → its reader."""
