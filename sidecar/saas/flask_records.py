"""Serve the service's records, a person's decisions about them, and the audit copy.

Invariants:
- Nothing is guessed: an unknown field, state or query parameter is refused, with value and rule. A typing error in a
  decision must not decide about everything.
- Quantities are text, as they were sealed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from flask import Flask, Response, request

from sidecar.api import flask_usage
from sidecar.api.flask_responses import response
from sidecar.api.flask_usage import EXPORT_PATH, JSON_LINES, next_link
from sidecar.api.json_body import Malformed, read_object
from sidecar.api.push import PATH as USAGE
from sidecar.api.reply import Reply
from sidecar.metering.quantities import plain
from sidecar.metering.states import State
from sidecar.saas.customer_events import REFERENCE_FIELDS, BadReference, read_reference
from sidecar.saas.customers import Reference
from sidecar.saas.deciding import PersonsDecision
from sidecar.saas.records import CustomerBalance, CustomerRecord
from sidecar.saas.store import Store
from sidecar.strict_json import shown

DECISION_FIELDS: Final = ("act", "customer", "hour", "dimension", "metering_record_id", "quantity")
QUERIES: Final = ("state", *REFERENCE_FIELDS)


def add(
    app: Flask,
    store: Store,
    decide: Callable[[PersonsDecision], Sequence[CustomerRecord]],
    send_now: Callable[[], None],
) -> None:
    """Add these routes. `decide` applies a decision; `send_now` begins to send."""

    @app.get(USAGE)
    def records() -> Response:
        """Return records, newest hour first; `?state=`, `?license_arn=`, `?aws_account_id=`, `?identifier=`."""
        if unknown := [name for name in request.args if name not in QUERIES]:
            raise Malformed(f"{shown(unknown[0])} is not a parameter; there are {', '.join(QUERIES)}.")
        state = _state(request.args.get("state"))
        found = store.records(_reference(request.args), states=() if state is None else (state,))
        return _records(one for one in found if state in (None, one.usage.state))

    @app.post(f"{USAGE}/retry")
    def retry() -> Response:
        """Apply a decision and return the records as they are then."""
        found = decide(read_decision(request.get_data()))
        send_now()
        return _records(iter(found))

    @app.get(EXPORT_PATH)
    def export() -> Response:
        """Return one page of the audit copy as JSON Lines; `Link` leads to the next. The last has each total."""
        after = request.args.get("after", "")
        try:
            page = store.export(after)
        except ValueError:
            raise Malformed(f"after is {shown(after)}; it is what the Link of the page before has.") from None
        records = ({"record": as_json(one)} for one in page.records)
        lines = [*records, *({"total": total_json(one)} for one in page.balances)]
        body = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        found = Response(body, content_type=JSON_LINES, headers={"Cache-Control": "no-store"})
        if page.after:
            found.headers["Link"] = next_link(page.after)
        return found


def as_json(record: CustomerRecord) -> dict[str, object]:
    """Return one record, as `GET /v1/usage` shows it."""
    shown_usage = flask_usage.as_json("", record.usage)
    del shown_usage["workload"]
    return {"customer": customer_json(record), "region": record.region or None, **shown_usage}


def customer_json(record: CustomerRecord | CustomerBalance) -> dict[str, str]:
    """Return whose it is, as a push names a customer, and the product code of an older product."""
    key = record.customer
    named = {
        "license_arn": key.license_arn,
        "aws_account_id": key.aws_account_id,
        "identifier": key.identifier,
        "product_code": key.product_code,
    }
    return {name: value for name, value in named.items() if value}


def total_json(balance: CustomerBalance) -> dict[str, object]:
    """Return a customer's and dimension's totals for ever: accepted = settled + waiting."""
    return {
        "customer": customer_json(balance),
        "dimension": balance.dimension,
        "accepted": plain(balance.accepted),
        "settled": plain(balance.settled),
        "waiting": plain(balance.waiting),
        "pushed_events": balance.events,
        "balances": balance.balanced,
    }


def read_decision(body: bytes) -> PersonsDecision:
    """Return the decision in a body. Raises Malformed."""
    fields = read_object(body, DECISION_FIELDS)
    customer = fields.pop("customer", None)
    found = flask_usage.read_decision(json.dumps(fields, default=_number).encode())
    try:
        reference = None if customer is None else read_reference(customer)
    except BadReference as exc:
        raise Malformed(str(exc)) from None
    if found.names_one and reference is None:
        raise Malformed("customer is missing: this decision is about one record.")
    return PersonsDecision(
        action=found.action,
        customer=reference,
        hour=found.hour,
        dimension=found.dimension,
        record_id=found.record_id,
        quantity=found.quantity,
    )


def _number(value: object) -> str:
    """Return a JSON number as text: quantities may be either. Raises TypeError for anything else."""
    text = getattr(value, "text", None)
    if not isinstance(text, str):
        raise TypeError(f"{value!r} is no JSON")
    return text


def _reference(args: Mapping[str, str]) -> Reference | None:
    given = {name: args[name] for name in REFERENCE_FIELDS if args.get(name)}
    return Reference(**given) if given else None


def _state(words: str | None) -> State | None:
    try:
        return None if words is None else State(words)
    except ValueError:
        raise Malformed(f"state is {shown(words)}; it is one of {', '.join(one.value for one in State)}.") from None


def _records(records: Iterator[CustomerRecord]) -> Response:
    body = json.dumps({"records": [as_json(one) for one in records]}, ensure_ascii=False)
    return response(Reply(status=200, body=body.encode()))
