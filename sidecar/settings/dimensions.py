"""Read the dimensions that the listing prices, as an operator or a seller writes them.

Three forms; every field but the name has a default:

    requests,gb_hours
    [{"name": "gb_hours", "scale": "0.001", "decimals": 3, "tags": ["tenant"]}]
    a YAML list of the same

Invariants:
- Every fault is reported at once, each with its position.
- Up to 24 dimensions, named 1–255 characters, each once: what a listing can have.
- Tags need `sum`: a largest or last value has no shares that add up to it.
- AWS adds up the pods of a customer. A sum may be added up; `max`, `last` and `unique` need a `scope`: one value per
  pod, or a singleton.

Sources: AWS Marketplace seller guide, "Configuring custom metering with MeterUsage" (24 dimensions);
API Reference, MeterUsage, shapes UsageDimension, TagKey, TagList.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, TypeVar

from sidecar.quick_dataclasses import dataclass
from sidecar.strict_json import JsonNumber, Repeated, parse, shown

DIMENSIONS_MAX: Final = 24
NAME_MAX: Final = 255
TAG_KEYS_MAX: Final = 5
"""Per allocation and over the whole request: AWS's text can be read both ways, so both hold."""
TAG_KEY_MAX: Final = 100
TAG_VALUE_MAX: Final = 256
TAG_CHARACTERS: Final = re.compile(r"[a-zA-Z0-9+ \-=._:/@]+")
"""Of TagKey and TagValue. The model writes ` -=` inside a class, which as a pattern is a range; what is
meant are AWS's usual tag characters, and these pass under both readings."""

SCALE_MAX: Final = Decimal(10**9)
"""Excluded. With six places below it, a scale fits the fifteen digits a YAML number keeps exactly."""

PLACES: Final = 6
"""Decimal places of a quantity, a scale and a record: AWS's most."""
PLAIN: Final = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?")
FIELDS: Final = ("name", "aggregation", "scale", "decimals", "tags", "report_zero", "scope")

E = TypeVar("E", bound=Enum)


class Aggregation(Enum):
    """The function that makes one quantity of an hour's events."""

    SUM = "sum"
    MAX = "max"
    LAST = "last"
    UNIQUE = "unique"
    """The number of different keys."""


class Scope(Enum):
    """The pods that a `max`, `last` or `unique` covers."""

    POD = "pod"
    """Every pod reports a value, and AWS adds them up."""
    SINGLETON = "singleton"
    """One pod reports for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """One unit the listing prices."""

    name: str
    aggregation: Aggregation = Aggregation.SUM
    scale: Decimal = Decimal(1)
    decimals: int = 0
    """Places of what is billed; 0: whole numbers."""
    tags: tuple[str, ...] = ()
    """The tag keys events may carry."""
    report_zero: bool = False
    """Hours without usage are reported too."""
    scope: Scope | None = None

    def __str__(self) -> str:
        """Return the dimension as an operator would write it; `read_dimensions` reads it."""
        if self == Dimension(name=self.name):
            return self.name
        written = {"name": self.name, "aggregation": self.aggregation.value, "scale": f"{self.scale:f}"}
        rest = {"decimals": self.decimals, "tags": list(self.tags), "report_zero": self.report_zero}
        scope = {"scope": self.scope.value} if self.scope else {}
        return json.dumps({**written, **rest, **scope}, ensure_ascii=False)


class DimensionsFault(ValueError):
    """Every fault in the dimensions, each with its position."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(faults))


def read_dimensions(value: object) -> tuple[Dimension, ...]:
    """Return the dimensions in a setting's value, in its order. Raises DimensionsFault."""
    faults: list[str] = []
    found = [_dimension(item, f"[{at}]", faults) for at, item in enumerate(_items(value))]
    names = [one.name for one in found if one]
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.append(f"{shown(name)} is named twice.")
    if len(found) > DIMENSIONS_MAX:
        faults.append(f"{len(found)} dimensions are named; a listing has up to {DIMENSIONS_MAX}.")
    if faults:
        raise DimensionsFault(faults)
    return tuple(one for one in found if one)


def schema() -> dict[str, object]:
    """Return the JSON Schema of the dimensions in a file."""
    one = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": NAME_MAX, "description": "as the listing has it"},
            "aggregation": {"type": "string", "enum": [one.value for one in Aggregation], "default": "sum"},
            "scale": {"type": ["string", "number"], "description": "multiplies once, at sealing", "default": 1},
            "decimals": {"type": "integer", "minimum": 0, "maximum": PLACES, "default": 0},
            "tags": {
                "type": "array",
                "maxItems": TAG_KEYS_MAX,
                "items": {"type": "string", "minLength": 1, "maxLength": TAG_KEY_MAX},
                "description": "tag keys that events may carry; needs aggregation sum",
            },
            "report_zero": {"type": "boolean", "default": False, "description": "report hours of nothing too"},
            "scope": {
                "type": "string",
                "enum": [one.value for one in Scope],
                "description": "AWS adds up the pods: max, last and unique have to say whose value it is",
            },
        },
    }
    names = {"type": "string", "minLength": 1}
    return {
        "oneOf": [names, {"type": "array", "minItems": 1, "maxItems": DIMENSIONS_MAX, "items": {"oneOf": [names, one]}}]
    }


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        if not value.strip():
            raise DimensionsFault(["is empty."])
        if value.lstrip()[0] not in "[{":
            return [part.strip() for part in value.split(",")]
        try:
            value = parse(value.strip())
        except ValueError as exc:
            raise DimensionsFault([str(exc)]) from None
    if not isinstance(value, list):
        raise DimensionsFault([f"{shown(value)} is not a list of dimensions."])
    return value


def _dimension(item: object, where: str, faults: list[str]) -> Dimension | None:
    before = len(faults)
    fields = {"name": item} if isinstance(item, str) else item
    if isinstance(fields, Repeated):
        faults.append(f"{where} gives {shown(fields.name)} twice.")
    elif not isinstance(fields, dict):
        faults.append(f"{where} is {shown(item)}, neither a name nor a mapping with one.")
    else:
        read = _fields(fields, where, faults)
        if len(faults) == before:
            _check_combination(read, where, faults)
        return read if len(faults) == before else None
    return None


def _fields(fields: Mapping[object, object], where: str, faults: list[str]) -> Dimension:
    """Read each field by itself; a wrong one adds a fault and keeps its default."""
    found: dict[str, object] = {}
    for field, value in fields.items():
        reader = READERS.get(str(field))
        if reader is None:
            faults.append(f"{where}.{field} is not a field of a dimension: {', '.join(FIELDS)}.")
            continue
        try:
            found[str(field)] = reader(value)
        except ValueError as exc:
            faults.append(f"{where}.{field}: {exc}")
    if "name" not in fields:
        faults.append(f"{where}.name is missing.")
    return Dimension(**{"name": "", **found})  # type: ignore[arg-type]  # each reader gives its field's type


def _check_combination(read: Dimension, where: str, faults: list[str]) -> None:
    """Add a fault for each field that does not fit the aggregation."""
    if read.aggregation is Aggregation.SUM:
        return
    kind = read.aggregation.value
    if read.tags:
        faults.append(f"{where}.tags: tags need aggregation sum; the shares of a {kind} do not add up to it.")
    if read.scope is None:
        faults.append(f"{where}.scope is missing: AWS adds up the pods, so {kind} needs scope pod or singleton.")


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text; put it in quotes.")
    name = value.strip()
    if not 1 <= len(name) <= NAME_MAX:
        raise ValueError(f"{shown(name)} has {len(name)} characters; 1 to {NAME_MAX} are allowed.")
    if not name.isprintable():
        raise ValueError(f"{shown(name)} holds a character that cannot be printed.")
    return name


def positive_decimal(value: object) -> Decimal:
    """Return a number above 0, exact, such as a scale.

    The shortest form of a YAML float is what was written, up to fifteen digits. Raises ValueError.
    """
    if isinstance(value, JsonNumber | float | int) and not isinstance(value, bool):
        text = value.text if isinstance(value, JsonNumber) else repr(value)
    elif isinstance(value, str) and PLAIN.fullmatch(value):
        text = value
    else:
        raise ValueError(f"{shown(value)} is neither a number nor text of plain decimal digits.")
    try:
        number = Decimal(text)
        fits = 0 < number < SCALE_MAX and number == round(number, PLACES)
    except InvalidOperation:  # not finite, or an exponent beyond what a Decimal holds
        number, fits = Decimal(0), False
    if not fits:
        raise ValueError(f"{shown(value)} is not above 0 and below {SCALE_MAX} with at most {PLACES} decimal places.")
    return number


def _decimals(value: object) -> int:
    text = value.text if isinstance(value, JsonNumber) else "" if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[0-6]", text):
        raise ValueError(f"{shown(value)} is not a whole number from 0 to {PLACES}.")
    return int(text)


def _tags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is not a list of tag keys.")
    for key in value:
        if not isinstance(key, str) or len(key) > TAG_KEY_MAX or not TAG_CHARACTERS.fullmatch(key):
            raise ValueError(
                f"{shown(key)} is not a tag key: 1 to {TAG_KEY_MAX} letters, digits, blanks and + - = . _ : / @"
            )
    if len(set(value)) != len(value):
        raise ValueError("names a key twice.")
    if len(value) > TAG_KEYS_MAX:
        raise ValueError(f"has {len(value)} keys; up to {TAG_KEYS_MAX} are allowed.")
    return tuple(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not true or false.")
    return value


def _member(kind: type[E], value: object) -> E:
    for member in kind:
        if isinstance(value, str) and value.strip().lower() == member.value:
            return member
    raise ValueError(f"{shown(value)} is not one of: {', '.join(str(member.value) for member in kind)}.")


READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "name": _name,
    "aggregation": lambda value: _member(Aggregation, value),
    "scale": positive_decimal,
    "decimals": _decimals,
    "tags": _tags,
    "report_zero": _boolean,
    "scope": lambda value: _member(Scope, value),
}
"""Field → its reader."""
