"""Describe how usage comes in: `POST /v1/usage`."""

from __future__ import annotations

from typing import Final

from sidecar.api.operations.operation import RETRY_AFTER, Answer, Body, Operation
from sidecar.api.operations.refusals import push_reasons
from sidecar.api.operations.schemas import ref

ONE: Final = {"dimension": "requests", "quantity": 3, "id": "order-17"}
BATCH: Final = [
    {"dimension": "requests", "quantity": 3, "id": "order-17"},
    {"dimension": "gb_hours", "quantity": "0.25", "id": "job-9", "at": "2026-11-20T10:15:00Z", "tags": {"team": "a"}},
    {"dimension": "seats", "quantity": 1, "id": "login-4", "key": "user-4"},
]

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/usage",
        id="pushUsage",
        does="Report usage. The answer comes after the events are on disk.",
        takes='One event, or an array of 1 to 1 000: `{"dimension", "quantity", "id"?, "at"?, "tags"?, "key"?}`.'
        " All are kept, or none. The `Content-Type` is not checked; `Content-Encoding` may be `gzip` or `deflate`.",
        request=Body(schema=ref("Events"), example=ONE),
        requests={"a batch": BATCH},
        answers={
            200: Answer(
                when='`{"accepted": n, "duplicates": m}`; n + m is the number of events sent',
                body=Body(schema=ref("Kept"), example={"accepted": 2, "duplicates": 1}),
            ),
            400: Answer(
                when="malformed; the [reasons](push-refusals.md) of this and the other statuses",
                reasons=push_reasons(400),
                detail="Event 0: quantity is missing.",
            ),
            404: Answer(
                when="unknown dimension",
                reasons=push_reasons(404),
                detail='Event 0: dimension "request" is not one of the product\'s.',
            ),
            409: Answer(
                when="a known `id` with other content",
                reasons=push_reasons(409),
                detail='Event 0: id "order-17" was sent before with other content.',
            ),
            413: Answer(
                when="too many events, or too large",
                reasons=push_reasons(413),
                detail="The array has 1001 events; up to 1000 are taken.",
            ),
            422: Answer(
                when="a value out of range",
                reasons=push_reasons(422),
                detail="Event 0: quantity -1 is negative; a quantity is 0 or more.",
            ),
            503: Answer(
                when="not known to be kept: send the same events again, with their `id`s; `Retry-After` says when."
                " Without an `id` the outcome is unknown: after `ledger_io_error` and a crash the events may be"
                " counted",
                reasons=push_reasons(503),
                detail="Free space on the volume of SIDECAR_STATE_DIR or make it larger.",
                headers=(RETRY_AFTER,),
            ),
        },
    ),
)
