"""Describe the usage records: the list, a person's decision about some, and the audit copy."""

from __future__ import annotations

from typing import Final

from sidecar.api.operations.operation import RETRY_AFTER, Answer, Body, Operation, Query
from sidecar.api.operations.refusals import NOT_KEPT
from sidecar.api.operations.schemas import NAME, ONE_HOUR, REPORTED, TEXT, one_of, ref, taken
from sidecar.metering.records import METER_USAGE
from sidecar.metering.states import State

RECORDS_BODY: Final = (
    '`{"records": [{"workload", "hour", "dimension", "state", "quantity", "metering_record_id", "last_error",'
    ' "attempts", "retry_at", "rolled_to", "aws_quantity", "kind"}]}`'
)
RECORDS: Final = Body(
    schema=ref("Records"),
    example={
        "records": [
            {
                "workload": "6f2c5d0e-9a5b-4f0c-8f4e-6f0a5a0d3c11",
                "hour": "2026-11-20T10:00:00Z",
                "dimension": "requests",
                "state": "settled",
                "quantity": "3",
                "metering_record_id": "d1f4b0c0-6d0e-4d7b-8f4b-0a7e6f0c1c11",
                "last_error": None,
                "attempts": 1,
                "retry_at": None,
                "rolled_to": None,
                "aws_quantity": None,
                "kind": METER_USAGE,
            }
        ]
    },
)
EXPORT_LINE: Final = (
    '{"record": "total", "dimension": "requests", "accepted": "3", "settled": "3", "waiting": "0", "written_off": "0",'
    ' "over_billed": "0", "events": 1, "balanced": true}\n'
)
UNUSABLE: Final = Answer(
    when="the ledger cannot be used: [its reason](push-refusals.md); `Retry-After` says when to ask again",
    reasons=NOT_KEPT,
    detail="The disk under SIDECAR_STATE_DIR does not read or write; look at the node's kernel log.",
    headers=(RETRY_AFTER,),
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/usage",
        id="listRecords",
        does="List the usage records, oldest first, then those of workloads that are gone which wait for a person.",
        takes="`?state=`: only records in that [state](records.md).",
        query=(
            Query(
                name="state",
                description="Only records in this state.",
                schema=one_of(*(one.value for one in State)),
                example="disputed",
            ),
        ),
        answers={
            200: Answer(when=RECORDS_BODY, body=RECORDS),
            400: Answer(
                when="`state` is no state (`bad_request`)",
                reasons=("bad_request",),
                detail='state is "done"; it is one of open, sealed, settled.',
            ),
            503: UNUSABLE,
        },
    ),
    Operation(
        method="GET",
        path="/v1/usage/export",
        id="exportUsage",
        does="Export the audit copy: what was accepted, sealed, sent and answered.",
        takes="`?after=`: as the `Link` of the page before has it.",
        query=(
            Query(
                name="after",
                description="As the `Link` of the page before has it.",
                schema={"type": "string", "pattern": "^(?:[0-9]{1,12}:[\\s\\S]+)?$"},
                example="494698:requests",
            ),
        ),
        answers={
            200: Answer(
                when='JSON Lines (`application/x-ndjson`). `Link` with `rel="next"` leads to the next page',
                body=Body(schema=TEXT, example=EXPORT_LINE, media_type="application/x-ndjson"),
                headers=("Link",),
            ),
            400: Answer(
                when="`after` is not one of ours (`bad_request`)",
                reasons=("bad_request",),
                detail='after is "x"; it is what the Link of the page before has.',
            ),
            503: UNUSABLE,
        },
    ),
    Operation(
        method="POST",
        path="/v1/usage/retry",
        id="decide",
        does="Decide about records that wait for a person: rejected and disputed ones.",
        takes='`{"act"?, "hour"?, "dimension"?, "workload"?, "metering_record_id"?, "quantity"?}`. `act` is `retry`'
        " (the default), `roll_forward`, `confirm` or `accept_aws`. Without `hour` and `dimension` it is about all that"
        " wait; `confirm` needs both and `metering_record_id`, `accept_aws` both and `quantity`, which is what AWS"
        " billed. `workload` names one that is gone: its records wait in its own ledger on this volume.",
        request=Body(
            schema={
                "oneOf": [
                    taken(act=one_of("retry", "roll_forward"), hour=ONE_HOUR, dimension=NAME, workload=NAME),
                    taken(
                        "act",
                        "hour",
                        "dimension",
                        "metering_record_id",
                        act={"const": "confirm"},
                        hour=ONE_HOUR,
                        dimension=NAME,
                        workload=NAME,
                        metering_record_id=NAME,
                    ),
                    taken(
                        "act",
                        "hour",
                        "dimension",
                        "quantity",
                        act={"const": "accept_aws"},
                        hour=ONE_HOUR,
                        dimension=NAME,
                        workload=NAME,
                        quantity=REPORTED,
                    ),
                ]
            },
            example={"act": "roll_forward", "hour": "2026-11-20T10:00:00Z", "dimension": "requests"},
        ),
        request_required=False,
        answers={
            200: Answer(when=f"the records as they are then: {RECORDS_BODY}", body=RECORDS),
            400: Answer(
                when="the body says no decision (`bad_request`)",
                reasons=("bad_request",),
                detail='act is "again"; it is one of retry, roll_forward, confirm, accept_aws.',
            ),
            404: Answer(
                when="no other ledger of that workload is on this volume (`workload_not_found`); confirm or accept_aws"
                " names a record that waits for no decision (`record_not_found`)",
                reasons=("workload_not_found", "record_not_found"),
                detail="Nothing was changed: no other ledger of that workload is on this volume.",
            ),
            409: Answer(
                when="nothing was changed: no rule allows it (`illegal_transition`); that workload's ledger is in use"
                " (`ledger_locked`) or of another product or region (`ledger_of_another`); its records cannot be sent"
                " again from here (`workload_gone`); the dimension is not set here (`dimension_unconfigured`); our own"
                " region is not known yet (`region_unknown`)",
                reasons=(
                    "illegal_transition",
                    "ledger_locked",
                    "ledger_of_another",
                    "workload_gone",
                    "dimension_unconfigured",
                    "region_unknown",
                ),
                detail="Nothing was changed: settled cannot retry.",
            ),
            503: UNUSABLE,
        },
    ),
)
