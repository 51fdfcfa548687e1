"""Serve the usage records, an operator's decisions about them, and the audit copy.

How usage comes in: `push`. What a decision does: `UsagePort.resolve`.

Invariants:
- These routes wait for the disk, so they run in the thread pool and never where probes are answered.
- Nothing is guessed: an unknown field, an unknown state, an hour that does not begin at a full hour are refused, each
  with field, value and rule. A typing error in a retry must not retry everything.
- Quantities are text, as they were sealed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import chain
from typing import Final
from urllib.parse import quote

from flask import Flask, Response, request

from sidecar.api import push
from sidecar.api.flask_responses import response
from sidecar.api.json_body import Malformed, read_object
from sidecar.api.ports import UsagePort
from sidecar.api.reply import Reply, refusal
from sidecar.clock import iso
from sidecar.errors import DecisionRefused, SidecarError
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import ZERO, micros_to_decimal, parse_micros, plain
from sidecar.metering.records import UsageRecord, kind
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.metering.timestamps import read_instant
from sidecar.strict_json import shown

EXPORT_PATH: Final = "/v1/usage/export"
JSON_LINES: Final = "application/x-ndjson"
DECISIONS: Final = (Action.RETRY, Action.ROLL_FORWARD, Action.CONFIRM, Action.ACCEPT_AWS)
ACTS: Final[Mapping[str, Action]] = {act.value: act for act in DECISIONS}
"""The decisions an operator may make."""
FIELDS: Final = ("act", "hour", "dimension", "workload", "metering_record_id", "quantity")
ONLY: Final[Mapping[str, tuple[Action, str]]] = {
    "metering_record_id": (Action.CONFIRM, "to confirm"),
    "quantity": (Action.ACCEPT_AWS, "to accept AWS's"),
}
"""Field → the one decision that takes it, and needs it with hour and dimension, since it is of one record."""


def add(app: Flask, usage: UsagePort) -> None:
    """Add these routes and their error handlers to the application."""

    @app.errorhandler(SidecarError)
    def unavailable(exc: SidecarError) -> Response:
        return response(refusal(503, exc.reason, exc.hint, (("Retry-After", str(push.RETRY_AFTER_SECONDS)),)))

    @app.errorhandler(DecisionRefused)
    def refused(exc: DecisionRefused) -> Response:
        return response(refusal(exc.status, exc.reason, f"Nothing was changed: {exc.hint}"))

    @app.errorhandler(IllegalTransition)
    def illegal(exc: IllegalTransition) -> Response:
        return response(refusal(409, "illegal_transition", f"Nothing was changed: {exc}"))

    @app.get(push.PATH)
    def records() -> Response:
        """Return every record, oldest first, then those of workloads that are gone which wait for a person.

        With `?state=` those in that state.
        """
        state = _state(request.args.get("state"))
        own = ((usage.workload, record) for record in usage.records())
        return _records(one for one in chain(own, usage.orphans()) if state in (None, one[1].state))

    @app.post(push.PATH)
    def push_is_deferred() -> Response:
        """Stand in the Allow header. The server gives every push to `Router.deferred_handler`, never to Flask."""
        raise AssertionError("a push came to a thread that would have to wait")

    @app.post(f"{push.PATH}/retry")
    def retry() -> Response:
        """Apply a decision and return the records as they are then. An empty body retries all."""
        decision = read_decision(request.get_data())
        whose = decision.workload or usage.workload
        return _records((whose, record) for record in usage.resolve(decision))

    @app.get(EXPORT_PATH)
    def export() -> Response:
        """Return one page of the audit copy as JSON Lines; `Link` leads to the next."""
        after = request.args.get("after", "")
        try:
            lines, next_after = usage.export(after)
        except ValueError:
            raise Malformed(f"after is {shown(after)}; it is what the Link of the page before has.") from None
        page = Response("".join(f"{line}\n" for line in lines), content_type=JSON_LINES)
        if next_after:
            page.headers["Link"] = next_link(next_after)
        page.headers["Cache-Control"] = "no-store"
        return page


def next_link(after: str) -> str:
    """Return the header that leads to the page of the audit copy behind a place."""
    return f'<{EXPORT_PATH}?after={quote(after, safe="")}>; rel="next"'


def as_json(workload: str, record: UsageRecord) -> dict[str, object]:
    """Return one record of a workload, as `GET /v1/usage` shows it."""
    return {
        "workload": workload or None,
        "hour": _hour_text(record.hour),
        "dimension": record.dimension,
        "state": record.state.value,
        "quantity": plain(record.quantity),
        "metering_record_id": record.record_id,
        "last_error": record.last_error,
        "attempts": record.attempts,
        "retry_at": iso(record.retry_at) if record.retry_at else None,
        "rolled_to": _hour_text(record.rolled_to) if record.rolled_to else None,
        "aws_quantity": None if record.aws_quantity is None else plain(record.aws_quantity),
        "kind": kind(record),
    }


def read_decision(body: bytes) -> Resolution:
    """Return the decision in a body. Raises Malformed."""
    fields = read_object(body, FIELDS)
    quantity = _quantity(fields.pop("quantity")) if "quantity" in fields else None
    texts = {name: _text(name, value) for name, value in fields.items()}
    given = {*texts, *(["quantity"] if quantity is not None else ())}
    act = ACTS.get(texts.get("act", Action.RETRY.value))
    if act is None:
        raise Malformed(f"act is {shown(fields['act'])}; it is one of {', '.join(ACTS)}.")
    for field, (taker, words) in ONLY.items():
        if act is taker and (missing := [name for name in ("hour", "dimension", field) if name not in given]):
            raise Malformed(f"{missing[0]} is missing: {words} takes hour, dimension and {field}.")
        if act is not taker and field in given:
            value = texts.get(field) or plain(quantity or ZERO)
            raise Malformed(f"{field} is {shown(value)}; only {words} takes one.")
    return Resolution(
        action=act,
        hour=_hour(texts["hour"]) if "hour" in texts else None,
        dimension=texts.get("dimension"),
        workload=texts.get("workload"),
        record_id=texts.get("metering_record_id"),
        quantity=quantity,
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} is {shown(value)}, not text.")
    return value


def _quantity(value: object) -> Decimal:
    try:
        return micros_to_decimal(parse_micros(value))
    except ValueError as exc:
        raise Malformed(f"quantity {exc}") from None


def _hour(words: str) -> Hour:
    try:
        return Hour(read_instant(words))
    except ValueError:
        raise Malformed(
            f"hour is {shown(words)}; an hour starts as 2026-11-20T10:00:00Z does, the start of an hour in UTC."
        ) from None


def _hour_text(hour: Hour) -> str:
    return f"{hour.start:%Y-%m-%dT%H:%M:%SZ}"


def _state(words: str | None) -> State | None:
    try:
        return None if words is None else State(words)
    except ValueError:
        states = ", ".join(one.value for one in State)
        raise Malformed(f"state is {shown(words)}; it is one of {states}.") from None


def _records(records: Iterable[tuple[str, UsageRecord]]) -> Response:
    body = json.dumps({"records": [as_json(*one) for one in records]}, ensure_ascii=False)
    return response(Reply(status=200, body=body.encode()))
