"""Read the body of `POST /v1/usage` into usage events, or into one refusal.

`late_events` decides in which hour an event counts, and the ledger whether it was there before.

Invariants:
- All or nothing. Refusals in this order over all events: 413 too big or too many · 400 malformed · 404 unknown
  dimension · 422 value out of range; among equals the first event is named.
- Nothing is guessed: an unknown field, null, a name given twice, a boolean as a number are refused. A misread report
  would be on a bill.
- Reasons never change; the detail names field, value and rule.
- Digests are 128 bits: two different ids or contents with one digest would lose usage.

Sources: AWS Marketplace API Reference, MeterUsage, shapes TagKey, TagValue, UsageQuantityAsDecimalString.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from sidecar.digests import blake2b
from sidecar.metering.quantities import Micros, QuantityOutOfRange, parse_micros
from sidecar.metering.timestamps import InstantOutOfRange, micros_since_epoch, read_instant
from sidecar.quick_dataclasses import dataclass
from sidecar.settings.dimensions import TAG_CHARACTERS, TAG_VALUE_MAX, Aggregation, Dimension
from sidecar.strict_json import JsonNumber, Repeated, parse, shown

BODY_BYTES_MAX: Final = 1 << 20
EVENTS_MAX: Final = 1000
ID_MAX: Final = 128
KEY_MAX: Final = 256
FUTURE_MAX: Final = timedelta(minutes=5)
DIGEST_BYTES: Final = 16
CACHE_SIZE: Final = 1024
"""Size of each cache of what most events have in common: quantities, tag sets, contents."""
UNIQUE: Final = Aggregation.UNIQUE
"""A module constant: each event is compared with it, and the attribute look-up takes longer than the comparison."""
FIELDS: Final = frozenset(("dimension", "quantity", "id", "at", "tags", "key"))
COMMON_FIELDS: Final = frozenset(("dimension", "quantity", "id", "tags"))
"""Those of most events. They are judged together, because this runs for every event."""

REASONS: Final[Mapping[str, int]] = {
    "body_too_large": 413,
    "too_many_events": 413,
    "body_malformed": 400,
    "no_events": 400,
    "event_malformed": 400,
    "field_unknown": 400,
    "field_missing": 400,
    "quantity_malformed": 400,
    "id_malformed": 400,
    "at_malformed": 400,
    "tags_malformed": 400,
    "key_malformed": 400,
    "dimension_malformed": 400,
    "dimension_unknown": 404,
    "quantity_out_of_range": 422,
    "id_out_of_range": 422,
    "at_out_of_range": 422,
    "at_in_future": 422,
    "tag_not_allowed": 422,
    "tag_out_of_range": 422,
    "key_required": 422,
    "key_not_allowed": 422,
    "key_out_of_range": 422,
    "hour_sealed": 422,
    "too_many_tag_sets": 422,
    "too_many_keys": 422,
}
"""Reason → HTTP status."""

Tags = tuple[tuple[str, str], ...]
"""Pairs of key and value, sorted: one tag set is one value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PushRefused:
    """Why usage was not taken. `index` is the first bad event's, from 0; None where it is the whole body."""

    status: int
    reason: str
    detail: str
    index: int | None = None


class PushAccepted(NamedTuple):
    """Usage that was taken. `accepted` + `duplicates` = events sent."""

    accepted: int
    duplicates: int


class UsageEvent(NamedTuple):
    """One report of the product, as sent. `tags` are sorted, `at` is in UTC."""

    dimension: str
    micros: Micros
    id: str | None = None
    at: datetime | None = None
    tags: Tags = ()
    key: str | None = None


class _Fault(Exception):
    """One event's fault, on its way to a refusal."""

    def __init__(self, reason: str, rule: str) -> None:
        self.status = REASONS[reason]
        self.reason = reason
        self.rule = rule


def parse_events(
    body: bytes, dimensions: Mapping[str, Dimension], now: datetime
) -> tuple[UsageEvent, ...] | PushRefused:
    """Return the events in a body, in its order, or why there are none."""
    items = read_items(body)
    return items if isinstance(items, PushRefused) else events_of(items, dimensions, now)


def read_items(body: bytes) -> Sequence[object] | PushRefused:
    """Return what stands for events in a body, in its order, or why it is none."""
    try:
        return _items(body)
    except _Fault as fault:
        return PushRefused(status=fault.status, reason=fault.reason, detail=fault.rule)


def events_of(
    items: Sequence[object], dimensions: Mapping[str, Dimension], now: datetime
) -> tuple[UsageEvent, ...] | PushRefused:
    """Return the events that these items are, or why one of them is none."""
    events: list[UsageEvent] = []
    worst: PushRefused | None = None
    latest = now + FUTURE_MAX
    for index, item in enumerate(items):
        try:
            events.append(_event(item, dimensions, latest))
        except _Fault as fault:
            if worst is None or fault.status < worst.status:
                detail = f"Event {index}: {fault.rule}"
                worst = PushRefused(status=fault.status, reason=fault.reason, detail=detail, index=index)
    return worst or tuple(events)


def content_digest(event: UsageEvent) -> bytes:
    """Return what was sent, by value and without the id, in 128 bits: 5 and 5.0 are one content."""
    dimension, micros, _, at, tags, key = event
    if at is None and key is None:
        return _cached_content(dimension, micros, None, tags, None)
    return _content(dimension, micros, None if at is None else micros_since_epoch(at), tags, key)


def id_digest(identifier: str) -> bytes:
    """Return an event's id in 128 bits."""
    digest = _OF_ID.copy()
    digest.update(identifier.encode())
    return digest.digest()


def key_digest(key: str) -> bytes:
    """Return a `unique` event's key in 128 bits."""
    return _digest(b"key", key)


_OF_ID: Final = blake2b(digest_size=DIGEST_BYTES, person=b"id")
"""Copied for each id, in less time than it takes to make one."""
_CANONICAL: Final = json.JSONEncoder(separators=(",", ":")).encode


def _content(*parts: object) -> bytes:
    return _digest(b"content", _CANONICAL(parts))


_cached_content: Final = lru_cache(maxsize=CACHE_SIZE)(_content)


def _digest(domain: bytes, words: str) -> bytes:
    return blake2b(words.encode(), digest_size=DIGEST_BYTES, person=domain).digest()


def _items(body: bytes) -> list[object]:
    if len(body) > BODY_BYTES_MAX:
        raise _Fault("body_too_large", f"The body has {len(body)} bytes; up to {BODY_BYTES_MAX} are taken.")
    try:
        document = parse(body.decode())
    except UnicodeDecodeError:
        raise _Fault("body_malformed", "The body is not UTF-8.") from None
    except ValueError as exc:
        raise _Fault("body_malformed", f"The body {exc}") from None
    if isinstance(document, (dict, Repeated)):  # `|` would make a union for each push
        return [document]
    if not isinstance(document, list):
        raise _Fault("body_malformed", f"The body is {shown(document)}, neither an event nor an array of events.")
    if not document:
        raise _Fault("no_events", "The array is empty; send at least one event.")
    if len(document) > EVENTS_MAX:
        raise _Fault("too_many_events", f"The array has {len(document)} events; up to {EVENTS_MAX} are taken.")
    return document


def _event(item: object, dimensions: Mapping[str, Dimension], latest: datetime) -> UsageEvent:
    """Return one event. First what is malformed, then the dimension, then what is out of range."""
    if type(item) is dict and item.keys() == COMMON_FIELDS and (common := _common_event(item, dimensions)):
        return common
    fields = _fields(item)
    name = _text(fields, "dimension")
    micros, too_much = _quantity(fields["quantity"])
    identifier = _text(fields, "id") if "id" in fields else None
    at, too_far = _at(fields["at"]) if "at" in fields else (None, None)
    tags = _tags(fields["tags"]) if "tags" in fields else ()
    key = _text(fields, "key") if "key" in fields else None
    dimension = dimensions.get(name)
    if dimension is None:
        names = ", ".join(dimensions) or "none is set"
        raise _Fault("dimension_unknown", f"dimension {shown(name)} is not one of the product's: {names}.")
    if late := too_much or too_far:
        raise late
    _check_length("id", identifier, ID_MAX)
    if at is not None and at > latest:
        raise _Fault(
            "at_in_future", f"at is {shown(at.isoformat())}, over 5 minutes in the future of this host's clock."
        )
    if tags:
        _check_tags(tags, dimension.tags)
    if key is not None or dimension.aggregation is UNIQUE:
        _check_key(key, dimension)
    return UsageEvent(name, micros, identifier, at, tags, key)


def _common_event(item: dict[str, object], dimensions: Mapping[str, Dimension]) -> UsageEvent | None:
    """Return an event that has these fields, all valid; None where they are to be judged one by one."""
    try:
        dimension, tags = dimensions[item["dimension"]], tuple(item["tags"].items())  # type: ignore[index,attr-defined]
        micros, sorted_tags = _quantity_and_tags(item["quantity"], tags, dimension.tags)
    except (LookupError, TypeError, AttributeError, _Fault):
        return None
    identifier = item["id"]
    if type(identifier) is not str or not identifier.isascii() or not 1 <= len(identifier) <= ID_MAX:
        return None
    if dimension.aggregation is UNIQUE:
        return None
    # What `UsageEvent(…)` returns, in a third of its time.
    return tuple.__new__(UsageEvent, (dimension.name, micros, identifier, None, sorted_tags, None))


@lru_cache(maxsize=CACHE_SIZE)
def _quantity_and_tags(quantity: Hashable, tags: Tags, names: tuple[str, ...]) -> tuple[Micros, Tags]:
    """Return what most events have in common, judged."""
    micros, too_much = _quantity(quantity)
    if too_much:
        raise too_much
    found = _tags(dict(tags))
    _check_tags(found, names)
    return micros, found


def _fields(item: object) -> dict[str, object]:
    if isinstance(item, Repeated):
        raise _Fault("event_malformed", f"the name {shown(item.name)} is given twice.")
    if not isinstance(item, dict):
        raise _Fault("event_malformed", f"{shown(item)} is not an object.")
    if not item.keys() <= FIELDS:
        unknown = next(name for name in item if name not in FIELDS)
        raise _Fault("field_unknown", f"{shown(unknown)} is not a field of an event: {', '.join(sorted(FIELDS))}.")
    for name in ("dimension", "quantity"):
        if name not in item:
            raise _Fault("field_missing", f"{name} is missing.")
    return item


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise _Fault(f"{name}_malformed", f"{name} is {shown(value)}, not text.")
    if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
        raise _Fault(f"{name}_malformed", f"{name} holds half of a surrogate pair, which is no character.")
    return value


def _quantity(value: object) -> tuple[Micros, _Fault | None]:
    try:
        return (_micros if isinstance(value, (str, JsonNumber)) else parse_micros)(value), None
    except QuantityOutOfRange as exc:
        return Micros(0), _Fault("quantity_out_of_range", f"quantity {exc}")
    except ValueError as exc:
        raise _Fault("quantity_malformed", f"quantity {exc}") from None


_micros: Final = lru_cache(maxsize=CACHE_SIZE)(parse_micros)


def _at(value: object) -> tuple[datetime | None, _Fault | None]:
    try:
        return read_instant(value), None
    except InstantOutOfRange as exc:
        return None, _Fault("at_out_of_range", f"at {exc}")
    except ValueError as exc:
        raise _Fault("at_malformed", f"at {exc}") from None


def _tags(value: object) -> Tags:
    if not isinstance(value, dict):
        raise _Fault("tags_malformed", f"tags is {shown(value)}, not an object of text by text.")
    for name, content in value.items():
        if not isinstance(content, str):
            raise _Fault("tags_malformed", f"tags.{shown(name)} is {shown(content)}, not text.")
    return tuple(sorted(value.items()))


@lru_cache(maxsize=CACHE_SIZE)
def _check_tags(tags: Tags, names: Collection[str]) -> None:
    for name, content in tags:
        if name not in names:
            allowed = ", ".join(names) or "none"
            raise _Fault("tag_not_allowed", f"tag {shown(name)} is not one of the dimension's: {allowed}.")
        if len(content) > TAG_VALUE_MAX or not TAG_CHARACTERS.fullmatch(content):
            rule = f"1 to {TAG_VALUE_MAX} letters, digits, blanks and + - = . _ : / @ are allowed."
            raise _Fault("tag_out_of_range", f"tag {shown(name)} is {shown(content)}; {rule}")


def _check_key(key: str | None, dimension: Dimension) -> None:
    unique = dimension.aggregation is UNIQUE
    if unique and key is None:
        raise _Fault("key_required", "key is missing; the dimension counts distinct keys.")
    if key is not None and not unique:
        kind = dimension.aggregation.value
        raise _Fault("key_not_allowed", f"key is {shown(key)}; only a unique dimension takes one, this is {kind}.")
    _check_length("key", key, KEY_MAX)


def _check_length(name: str, value: str | None, most: int) -> None:
    if value is not None and not 1 <= len(value) <= most:
        raise _Fault(f"{name}_out_of_range", f"{name} has {len(value)} characters; 1 to {most} are allowed.")
