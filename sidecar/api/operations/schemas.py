"""Define the JSON Schemas of bodies, as components of the API's description.

Invariants:
- Objects of the sidecar may get further members: clients ignore what they do not know. Requests are closed, as the
  routes refuse an unknown field.
- A quantity is text in every answer: no client rounds it by reading it as a float.

Sources: JSON Schema 2020-12; OpenAPI 3.1, section 4.8.24 (Schema Object).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.api.operations import refusals
from sidecar.api.operations.operation import Schema
from sidecar.entitlement.status import Status
from sidecar.metering.events import EVENTS_MAX, ID_MAX, KEY_MAX
from sidecar.metering.quantities import DECIMAL_MAX, DIGITS, plain
from sidecar.metering.records import KINDS
from sidecar.metering.states import State
from sidecar.settings import Take
from sidecar.settings.dimensions import TAG_CHARACTERS, TAG_VALUE_MAX

Made = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NAME: Final[Schema] = {"type": "string", "minLength": 1}
BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
AMOUNT: Final[Schema] = {"type": "string", "pattern": f"^{DIGITS.pattern}$", "description": "An exact decimal."}
REPORTED: Final[Schema] = {
    "type": "string",
    "pattern": "^[0-9]{1,10}(?:\\.[0-9]{1,6})?$",
    "description": f"An exact decimal, at most {plain(DECIMAL_MAX)}.",
}
"""A quantity in a request. Zeros in front are read too, up to 40 characters."""
ONE_HOUR: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):00:00Z$",
    "description": "The start of an hour in UTC.",
}
"""An hour in a request."""
HOUR: Final[Schema] = {"type": "string", "format": "date-time", "description": "The start of an hour in UTC."}
STABLE_NAME: Final[Schema] = {
    "type": "string",
    "pattern": "^[a-z0-9]+(_[a-z0-9]+)*$",
    "description": "It never changes.",
}


def or_null(schema: Schema) -> Made:
    """Return the schema of a value that may be null."""
    return {**schema, "type": [schema["type"], "null"]}


def ref(name: str) -> Made:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: object) -> Made:
    """Return the schema of text that is one of these."""
    return {"type": "string", "enum": list(values)}


def shown(**members: Schema) -> Made:
    """Return an object of the sidecar: every member is there, and there may be more."""
    return {"type": "object", "required": list(members), "properties": members}


def taken(*required: str, **members: Schema) -> Made:
    """Return an object in a request: there are no other members."""
    needed = {"required": list(required)} if required else {}
    return {"type": "object", **needed, "properties": members, "additionalProperties": False}


def some(of: Schema) -> Made:
    """Return an array."""
    return {"type": "array", "items": of}


def named(of: Schema) -> Made:
    """Return an object with names that are not known here."""
    return {"type": "object", "additionalProperties": of}


TAGS: Final[Schema] = {
    "type": "object",
    "description": "Cost-allocation tags, with the keys that the dimension allows.",
    "additionalProperties": {
        "type": "string",
        "minLength": 1,
        "maxLength": TAG_VALUE_MAX,
        "pattern": f"^(?:{TAG_CHARACTERS.pattern})$",
    },
}

EVENT: Final[Schema] = taken(
    "dimension",
    "quantity",
    dimension={"type": "string", "description": "One of the configured dimensions."},
    quantity={
        "description": "Read as an exact decimal, never as a float: at most six places, 40 characters.",
        "oneOf": [
            {"type": "number", "minimum": 0, "maximum": float(DECIMAL_MAX)},
            REPORTED,
        ],
    },
    id={
        "type": "string",
        "minLength": 1,
        "maxLength": ID_MAX,
        "description": "Counts once, for at least 24 hours. Send one with every event, and the same one again until a"
        " 2xx comes.",
    },
    at={
        "description": "When it was used: ISO 8601 with an offset, or epoch seconds. Now by default, and at most five"
        " minutes ahead.",
        "oneOf": [INSTANT, {"type": "number"}],
    },
    tags=TAGS,
    key={
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_MAX,
        "description": "What a `unique` dimension counts, such as a user's id.",
    },
)

ENTITLEMENT: Final[Schema] = shown(
    entitled={"type": "boolean", "description": "Whether the product may run."},
    status=one_of(*(one.value for one in Status)),
    reason=ref("GateReason"),
    hint={"type": "string", "description": "The next step, for a person."},
    product_code=TEXT,
    checked_at=or_null(INSTANT),
    metering_overdue_since=or_null(INSTANT),
)

RECORD: Final[Schema] = shown(
    workload=or_null(TEXT),
    hour=HOUR,
    dimension=TEXT,
    state=one_of(*(one.value for one in State)),
    quantity=AMOUNT,
    metering_record_id=or_null({"type": "string", "description": "AWS's receipt."}),
    last_error=or_null(TEXT),
    attempts=COUNT,
    retry_at=or_null(INSTANT),
    rolled_to=or_null(HOUR),
    aws_quantity=or_null(AMOUNT),
    kind=or_null(one_of(*KINDS)),
)

STATUS: Final[Schema] = shown(
    version=TEXT,
    started_at=INSTANT,
    entitlement=shown(
        entitled=BOOLEAN,
        status=one_of(*(one.value for one in Status)),
        reason=ref("GateReason"),
        hint=TEXT,
        checked_at=or_null(INSTANT),
        asking_since=INSTANT,
        product_code=TEXT,
        entitlement_check=TEXT,
        public_key_version=or_null({"type": "integer"}),
        public_key_superseded_at=or_null(TEXT),
        public_key_weak_bits=or_null({"type": "integer"}),
        kept_answer=BOOLEAN,
        aws_error=or_null(TEXT),
        aws_request_id=or_null(TEXT),
    ),
    workload=shown(id=or_null(TEXT), kind=or_null(TEXT)),
    aws=shown(
        region=or_null(TEXT),
        region_source=or_null(TEXT),
        region_disagreement=or_null(TEXT),
        partition=or_null(TEXT),
        host=or_null(TEXT),
        credential_source=or_null(TEXT),
        credential_caution=or_null(TEXT),
        role=or_null(TEXT),
    ),
    licenses=or_null(
        shown(
            product_sku=TEXT,
            license_arn=or_null(TEXT),
            ends_at=or_null(INSTANT),
            end_unknown=or_null(STABLE_NAME),
            granted=some({"type": "object"}),
            on_seat_lost=TEXT,
            seats=some({"type": "object"}),
        )
    ),
    metering=or_null(
        shown(
            dimensions=some(TEXT),
            ledger=shown(
                path=or_null(TEXT),
                writable=BOOLEAN,
                reason=or_null(STABLE_NAME),
                hint=or_null(TEXT),
                bytes=or_null(COUNT),
            ),
            open_hour=or_null(HOUR),
            records=named(COUNT),
            oldest_unsettled_hour=or_null(HOUR),
            last_settled_at=or_null(INSTANT),
            overdue_since=or_null(INSTANT),
            passed_at=or_null(INSTANT),
            quantities=named(
                shown(accepted=AMOUNT, settled=AMOUNT, waiting=AMOUNT, written_off=AMOUNT, over_billed=AMOUNT)
            ),
            held=some({"type": "object"}),
            orphaned=some({"type": "object"}),
            claimed=named(AMOUNT),
            quarantined=some({"type": "object"}),
            hint=or_null(TEXT),
        )
    ),
    unused_ledgers=some(TEXT),
    sources=some(
        shown(
            source=TEXT,
            kind=one_of("prometheus", "heartbeat", "kubernetes"),
            dimension=TEXT,
            read_at=or_null(INSTANT),
            series=COUNT,
            counted=AMOUNT,
            failing_since=or_null(INSTANT),
            reason=or_null(STABLE_NAME),
            hint=or_null(TEXT),
        )
    ),
    kubernetes=or_null(shown(condition=or_null(TEXT), reachable=BOOLEAN, refused=some({"type": "object"}))),
    loops=named(one_of("running", "stopped")),
    history=some(shown(at=INSTANT, status=one_of(*(one.value for one in Status)), reason=STABLE_NAME)),
)

ENTITLED: Final[Schema] = shown(
    name=TEXT,
    unit=TEXT,
    value=or_null({"type": "string", "description": "Digits; null where it is not counted."}),
    take=one_of(*(one.value for one in Take)),
    expires_at=or_null(INSTANT),
)

PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "A refusal (RFC 9457).",
    "required": ["type", "title", "status", "reason", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "reason": {**STABLE_NAME, "description": "For machines. It never changes."},
        "detail": {"type": "string", "description": "For people: the value, the rule, the fix."},
        "index": {**COUNT, "description": "Which event of the request it is about, from 0."},
    },
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Event": EVENT,
    "Events": {
        "description": "One event, or an array of them: all are kept, or none.",
        "oneOf": [ref("Event"), {**some(ref("Event")), "minItems": 1, "maxItems": EVENTS_MAX}],
    },
    "Kept": shown(
        accepted={**COUNT, "description": "Events that count now."},
        duplicates={**COUNT, "description": "Events whose id was there before."},
    ),
    "Entitlement": ENTITLEMENT,
    "Entitled": {**ENTITLED, "description": "A license of the contract that the product may use."},
    "GateReason": {**one_of(*refusals.GATE), "description": "Why the gate shows what it shows."},
    "Record": RECORD,
    "Records": shown(records=some(ref("Record"))),
    "Status": STATUS,
    "Problem": PROBLEM,
}
"""Name → component."""
