"""Read the body of the service's `POST /v1/usage`: usage events, each with its customer.

Invariants:
- The event rules and their order are `metering.events`'; beside them: 400 for a customer that is missing or malformed,
  404 for one that was never resolved, 422 for a reference that several customers fit.
- All or nothing; of equal refusals the first event is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sidecar.metering.events import PushRefused, events_of, read_items
from sidecar.saas.customers import CustomerKey, Reference
from sidecar.saas.records import CustomerEvent
from sidecar.settings import Dimension
from sidecar.strict_json import Repeated, shown

FIELD: Final = "customer"
REFERENCE_FIELDS: Final = ("license_arn", "aws_account_id", "identifier")
REFERENCE_MAX: Final = 1280
REASONS: Final[Mapping[str, tuple[int, str]]] = {
    "customer_missing": (400, 'Name the customer: `"customer": {"license_arn": …}`.'),
    "customer_malformed": (400, "Name the customer by `license_arn`, `aws_account_id` or `identifier`, each a text."),
    "customer_unknown": (
        404,
        "Resolve the customer's registration token first: `POST /v1/customers/resolve`. Where several names are given,"
        " each must be this customer's.",
    ),
    "customer_ambiguous": (422, "The account has several licenses: name the customer by `license_arn`."),
    "customer_closed": (422, "The customer's subscription has ended; AWS takes no more usage of it."),
}
"""Reason → HTTP status, and what to do."""

FindCustomer = Callable[[Reference], CustomerKey | str]
"""Returns the key that a reference means, or one of REASONS."""


class BadReference(ValueError):
    """A reference to a customer that cannot be read. The text names value and rule."""


def read_reference(value: object) -> Reference:
    """Return the reference in a JSON value. Raises BadReference."""
    if isinstance(value, Repeated) or not isinstance(value, dict):
        raise BadReference(f"customer is {shown(value)}, not an object with {', '.join(REFERENCE_FIELDS)}.")
    unknown = [name for name in value if name not in REFERENCE_FIELDS]
    if unknown:
        raise BadReference(f"customer.{shown(unknown[0])} is not one of {', '.join(REFERENCE_FIELDS)}.")
    for name, text in value.items():
        if not isinstance(text, str) or not 1 <= len(text) <= REFERENCE_MAX:
            raise BadReference(f"customer.{name} is {shown(text)}, not a text of 1 to {REFERENCE_MAX} characters.")
    if not value:
        raise BadReference(f"customer is empty; give one of {', '.join(REFERENCE_FIELDS)}.")
    return Reference(**value)


def read_events(
    body: bytes, dimensions: Mapping[str, Dimension], now: datetime, find: FindCustomer
) -> tuple[CustomerEvent, ...] | PushRefused:
    """Return the events in a body, in its order, or why there are none. `find` may wait for the database."""
    items = read_items(body)
    if isinstance(items, PushRefused):
        return items
    references, malformed = _references(items)
    events = events_of([_without_customer(item) for item in items], dimensions, now)
    refused = _worst(malformed, events if isinstance(events, PushRefused) else None)
    if refused is not None and refused.status == 400:
        return refused
    keys, unknown = _keys(references, find)
    if (worst := _worst(refused, unknown)) is not None:
        return worst
    assert not isinstance(events, PushRefused)
    return tuple(CustomerEvent(key, event) for key, event in zip(keys, events, strict=True))


def _references(items: Sequence[object]) -> tuple[list[Reference], PushRefused | None]:
    """Return the reference of each event, and the first that cannot be read."""
    found: list[Reference] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            found.append(Reference())  # refused as an event
            continue
        if FIELD not in item:
            return found, refusal("customer_missing", "customer is missing.", index)
        try:
            found.append(read_reference(item[FIELD]))
        except BadReference as exc:
            return found, refusal("customer_malformed", str(exc), index)
    return found, None


def _keys(references: Sequence[Reference], find: FindCustomer) -> tuple[list[CustomerKey], PushRefused | None]:
    known: dict[Reference, CustomerKey | str] = {}
    keys: list[CustomerKey] = []
    worst: PushRefused | None = None
    for index, reference in enumerate(references):
        if reference not in known:
            known[reference] = find(reference)
        key = known[reference]
        if isinstance(key, CustomerKey):
            keys.append(key)
        else:
            worst = _worst(worst, refusal(key, f"customer {_shown(reference)}: {REASONS[key][1]}", index))
    return keys, worst


def refusal(reason: str, detail: str, index: int | None = None) -> PushRefused:
    """Return a refusal for one of REASONS."""
    text = detail if index is None else f"Event {index}: {detail}"
    return PushRefused(status=REASONS[reason][0], reason=reason, detail=text, index=index)


def _worst(one: PushRefused | None, other: PushRefused | None) -> PushRefused | None:
    """Return the refusal that counts: the lower status, of equal ones the earlier event."""
    found = [each for each in (one, other) if each is not None]
    return min(found, key=lambda each: (each.status, -1 if each.index is None else each.index), default=None)


def _without_customer(item: object) -> object:
    return {name: value for name, value in item.items() if name != FIELD} if isinstance(item, dict) else item


def _shown(reference: Reference) -> str:
    names = (reference.license_arn, reference.aws_account_id, reference.identifier)
    return " with ".join(shown(name) for name in names if name)
