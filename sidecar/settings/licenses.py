"""Read the licenses that a contract must hold, as an operator or a seller writes them.

A JSON or YAML list; every field but `name` and `take` has a default:

    - {name: pro, take: check, any_of: tier}
    - {name: basic, take: check, any_of: tier}
    - {name: seats, value: 2, take: seat}
    - {name: pages, take: drawdown}

Invariants:
- Every fault is reported at once, each with its position.
- A license is needed by itself, or one of the licenses of its `any_of` group is.
- `unit` is one of License Manager's. `None` is a named feature and has no value; any other unit has one, whole and not
  negative. "0" asks for what is not limited.
- A drawdown has no value of its own: what is used is drawn. It is in no group.

Sources: AWS License Manager API Reference, CheckoutLicense, shapes EntitlementData and EntitlementDataUnit (`Value` is
text); AWS Marketplace seller guide, "Integrating your container products with License Manager".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from sidecar.errors import SettingsError
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import yaml_file
from sidecar.strict_json import JsonNumber, Repeated, parse, shown

LICENSES_MAX: Final = 24
"""Each costs one call at the start, in one check of at most `gate.messages.BUDGET_SECONDS_LICENSES`."""
NAME_MAX: Final = 255
VALUE: Final = re.compile(r"[0-9]{1,18}")
SKU: Final = re.compile(r"prod-[A-Za-z0-9]{1,250}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

NO_UNIT: Final = "None"
"""The unit of a named feature, which is not counted."""
DATA: Final = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes")
BITS: Final = ("Bits", "Kilobits", "Megabits", "Gigabits", "Terabits")
TIMES: Final = ("Seconds", "Microseconds", "Milliseconds")
RATES: Final = tuple(f"{unit}/Second" for unit in (*DATA, *BITS, "Count"))
UNITS: Final = ("Count", NO_UNIT, *TIMES, *DATA, *BITS, "Percent", *RATES)
"""Shape EntitlementDataUnit of license-manager 2018-08-01; a test compares them."""


class Take(Enum):
    """How a license is used."""

    CHECK = "check"
    """Checked out and in again at once: the contract holds it."""
    SEAT = "seat"
    """Checked out and held while the workload lives."""
    DRAWDOWN = "drawdown"
    """Drawn for good as a dimension is used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class License:
    """One entitlement of the contract, and how it is used."""

    name: str
    """As the listing has it; AWS compares upper and lower case."""
    unit: str = "Count"
    value: str = "1"
    """Digits; empty where the unit is `None`, and for a drawdown."""
    take: Take
    any_of: str = ""
    """Name of a group of which one license suffices; empty: needed by itself."""
    dimension: str = ""
    """Of a drawdown: the metered dimension whose usage is drawn."""

    def __str__(self) -> str:
        """Return the license as an operator would write it; `read_licenses` reads it in a list."""
        rest = {"any_of": self.any_of, "dimension": self.dimension, "value": self.value}
        written = {"name": self.name, "unit": self.unit, "take": self.take.value}
        return json.dumps(written | {field: value for field, value in rest.items() if value}, ensure_ascii=False)


class LicensesFault(ValueError):
    """Every fault in the licenses, each with its position."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(faults))


def product_sku(value: object) -> str:
    """Return a product ID. Raises ValueError."""
    sku = value.strip() if isinstance(value, str) else ""
    if not SKU.fullmatch(sku):
        raise ValueError(
            f"{shown(value)} is not a product ID: prod-… or a UUID, as the AWS Marketplace Management Portal shows it"
            " beside the product code."
        )
    return sku


def read_licenses(value: object) -> tuple[License, ...]:
    """Return the licenses in a setting's value, in its order. Raises LicensesFault."""
    faults: list[str] = []
    found = [_license(item, f"[{at}]", faults) for at, item in enumerate(_items(value))]
    read = [one for one in found if one]
    asked = [(one.name, one.unit, one.value, one.take is Take.DRAWDOWN) for one in read]
    for name in sorted({one[0] for one in asked if asked.count(one) > 1}):
        faults.append(f"{shown(name)} is given twice with the same unit and value.")
    drawn = [one.dimension for one in read if one.take is Take.DRAWDOWN]
    for dimension in sorted({name for name in drawn if drawn.count(name) > 1}):
        faults.append(f"dimension {shown(dimension)} is drawn from two licenses; it can be drawn from one.")
    if len(found) > LICENSES_MAX:
        faults.append(f"{len(found)} licenses are named; up to {LICENSES_MAX} are allowed.")
    if faults:
        raise LicensesFault(faults)
    return tuple(read)


def schema() -> dict[str, object]:
    """Return the JSON Schema of the licenses in a file."""
    text = {"type": "string", "minLength": 1, "maxLength": NAME_MAX}
    one = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "take"],
        "properties": {
            "name": {**text, "description": "as the listing has it; upper and lower case matter"},
            "unit": {"type": "string", "enum": list(UNITS), "default": "Count"},
            "value": {
                "type": ["string", "integer"],
                "pattern": "^[0-9]{1,18}$",
                "minimum": 0,
                "default": "1",
                "description": "how much the contract must have; 0 asks for what is not limited. None with unit None"
                " and with take drawdown",
            },
            "take": {"type": "string", "enum": [one.value for one in Take]},
            "any_of": {**text, "description": "group of which one license suffices, asked for in their order"},
            "dimension": {**text, "description": "with take drawdown: the dimension that is drawn; default: the name"},
        },
    }
    return {"oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "maxItems": LICENSES_MAX, "items": one}]}


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        value = _parsed(value.strip())
    if not isinstance(value, list):
        raise LicensesFault([f"{shown(value)} is not a list of licenses, each {{name: …, take: …}}."])
    return value


def _parsed(text: str) -> object:
    """Return the document in JSON or YAML text."""
    if not text:
        raise LicensesFault(["is empty."])
    try:
        return parse(text)
    except ValueError as exc:
        fault = str(exc)
    if text[0] == "[" and '"' in text:  # meant as JSON, whose faults are told more exactly
        raise LicensesFault([fault])
    indented = "\n".join(f"  {line}" for line in text.splitlines())
    try:
        return yaml_file.parse(f"licenses:\n{indented}".encode(), Path("licenses"))["licenses"]
    except (SettingsError, KeyError):
        raise LicensesFault([f"{shown(text)} is neither JSON nor YAML."]) from None


def _license(item: object, where: str, faults: list[str]) -> License | None:
    before = len(faults)
    if isinstance(item, Repeated):
        faults.append(f"{where} gives {shown(item.name)} twice.")
    elif not isinstance(item, dict):
        faults.append(f"{where} is {shown(item)}, not a mapping of name and take.")
    else:
        read = _fields(item, where, faults)
        if len(faults) == before:
            return _fitting(read, where, faults) if len(faults) == before else None
    return None


def _fields(fields: Mapping[object, object], where: str, faults: list[str]) -> dict[str, object]:
    """Read each field by itself; a wrong one adds a fault."""
    found: dict[str, object] = {}
    for field, value in fields.items():
        reader = READERS.get(str(field))
        if reader is None:
            faults.append(f"{where}.{field} is not a field of a license: {', '.join(READERS)}.")
            continue
        try:
            found[str(field)] = reader(value)
        except ValueError as exc:
            faults.append(f"{where}.{field}: {exc}")
    faults += [f"{where}.{field} is missing." for field in ("name", "take") if field not in fields]
    return found


def _fitting(found: Mapping[str, object], where: str, faults: list[str]) -> License | None:
    """Return the license, or None with a fault for each field that does not fit its unit or use."""
    before = len(faults)
    drawdown, featured = found["take"] is Take.DRAWDOWN, found.get("unit") == NO_UNIT
    if featured and "value" in found:
        faults.append(f"{where}.value: unit None is a feature that is not counted; remove the value.")
    if featured and drawdown:
        faults.append(f"{where}.unit: a drawdown is counted; unit None is not.")
    if drawdown and found.get("value", "1") != "1":
        faults.append(f"{where}.value: a drawdown draws what was used; remove the value.")
    if drawdown and "any_of" in found:
        faults.append(f"{where}.any_of: a drawdown is in no group; remove it.")
    if not drawdown and "dimension" in found:
        faults.append(f"{where}.dimension is for take drawdown alone.")
    if len(faults) > before:
        return None
    more: dict[str, object] = {"value": ""} if featured or drawdown else {}
    more |= {"dimension": found.get("dimension", found["name"])} if drawdown else {}
    return License(**{**found, **more})  # type: ignore[arg-type]  # each reader gives its field's type


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text; put it in quotes.")
    name = value.strip()
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
        raise ValueError(f"{shown(name)} is not 1 to {NAME_MAX} printable characters.")
    return name


def _unit(value: object) -> str:
    written = NO_UNIT if value is None else value  # YAML's null is what `unit: null` means, and `None` is text there
    if written not in UNITS:
        raise ValueError(f"{shown(value)} is not a unit of License Manager: {', '.join(UNITS)}.")
    return str(written)


def _value(value: object) -> str:
    text = value.text if isinstance(value, JsonNumber) else "" if isinstance(value, bool) else str(value).strip()
    if not VALUE.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a whole number from 0, of up to 18 digits.")
    return str(int(text))


def _take(value: object) -> Take:
    for member in Take:
        if isinstance(value, str) and value.strip().lower() == member.value:
            return member
    raise ValueError(f"{shown(value)} is not one of: {', '.join(one.value for one in Take)}.")


READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "name": _name,
    "unit": _unit,
    "value": _value,
    "take": _take,
    "any_of": _name,
    "dimension": _name,
}
"""Field → its reader."""
