"""Describe the routes about the gate and the process: status, recheck, proof, pre-stop, and this description."""

from __future__ import annotations

import json
from typing import Final

from sidecar.api.operations import refusals
from sidecar.api.operations.operation import RETRY_AFTER, Answer, Body, Operation, Query
from sidecar.api.operations.schemas import TEXT, or_null, ref, shown, some, taken

STATUS_EXAMPLE: Final = json.loads("""
{
  "version": "1.0.0",
  "started_at": "2026-11-20T09:58:01.000Z",
  "entitlement": {
    "entitled": true, "status": "entitled", "reason": "registered", "hint": "AWS confirmed this workload.",
    "checked_at": "2026-11-20T10:00:00.000Z", "asking_since": "2026-11-20T09:58:01.000Z",
    "product_code": "4xqg3mvklp0b7d0z9nbx2u8yy", "entitlement_check": "register_usage", "public_key_version": 1,
    "public_key_superseded_at": null, "public_key_weak_bits": null, "kept_answer": false, "aws_error": null,
    "aws_request_id": "c2d8f0f3-1b3e-4f0e-9a51-6f7d0f2f0c11"
  },
  "workload": {"id": "6f2c5d0e-9a5b-4f0c-8f4e-6f0a5a0d3c11", "kind": "pod", "pod": "product-0", "namespace": "shop"},
  "aws": {
    "region": "us-east-1", "region_source": "AWS_REGION", "region_disagreement": null, "partition": "aws",
    "host": "metering.marketplace.us-east-1.amazonaws.com", "credential_source": "assume-role-with-web-identity",
    "credential_caution": null, "role": "arn:aws:iam::123456789012:role/product"
  },
  "licenses": null,
  "metering": null,
  "unused_ledgers": [],
  "sources": [],
  "kubernetes": null,
  "loops": {"entitlement": "running"},
  "history": [{"at": "2026-11-20T10:00:00.000Z", "status": "entitled", "reason": "registered"}]
}
""")

ENTITLEMENTS_EXAMPLE: Final = json.loads("""
{
  "entitlements": [
    {"name": "pro", "unit": "None", "value": null, "take": "check", "expires_at": "2027-03-31T23:59:59.000Z"},
    {"name": "seats", "unit": "Count", "value": "2", "take": "seat", "expires_at": "2026-11-20T11:00:00.000Z"}
  ],
  "license_arn": "arn:aws:license-manager::294406891311:license:l-0123456789abcdef0123456789abcdef"
}
""")

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/status",
        id="getStatus",
        does="Show everything: workload, region, role, what AWS said, ledger, records, quantities, loops, and what to"
        " do.",
        answers={
            200: Answer(
                when="a JSON object with [these fields](#fields-of-get-v1status)",
                body=Body(schema=ref("Status"), example=STATUS_EXAMPLE),
            )
        },
    ),
    Operation(
        method="GET",
        path="/v1/entitlements",
        id="getEntitlements",
        does="Show what the product may use of its contract: [Hold seats of a contract](../howto/hold-seats.md).",
        takes="Under `checkout_license` alone. The list is empty while the gate is shut. `expires_at` is a seat's"
        " expiration, else the end of the contract, `null` where AWS does not tell it.",
        answers={
            200: Answer(
                when='`{"entitlements", "license_arn"}`: name, unit, value, `take` and `expires_at` of each license',
                body=Body(
                    schema=shown(entitlements=some(ref("Entitled")), license_arn=or_null(TEXT)),
                    example=ENTITLEMENTS_EXAMPLE,
                ),
            ),
            409: Answer(
                when="no contract is checked (`no_contract`)",
                reasons=("no_contract",),
                detail="SIDECAR_ENTITLEMENT_CHECK is register_usage; ask /entitled instead.",
            ),
        },
    ),
    Operation(
        method="GET",
        path="/v1/log",
        id="getLog",
        does="Show the last log events of this process, at most 1 000 and 1 MiB, oldest first. For `support-bundle`,"
        " and where the runtime keeps no log.",
        answers={
            200: Answer(
                when="JSON Lines: [log events](log-events.md)",
                body=Body(
                    schema={"type": "string"},
                    example='{"at": "2026-11-20T10:00:00.000Z", "level": "info", "event": "gate.opened"}\n',
                    media_type="application/x-ndjson",
                ),
            )
        },
    ),
    Operation(
        method="POST",
        path="/v1/recheck",
        id="recheck",
        does="Ask AWS again now, whatever the pause.",
        takes="No body.",
        answers={
            202: Answer(
                when='`{"asked": true}`', body=Body(schema=shown(asked={"const": True}), example={"asked": True})
            ),
            429: Answer(
                when="AWS was asked within the last 15 seconds (`asked_just_now`); `Retry-After` says when to ask"
                " again",
                reasons=("asked_just_now",),
                detail="AWS was asked a moment ago; ask again in 12 s.",
                headers=(RETRY_AFTER,),
            ),
        },
    ),
    Operation(
        method="POST",
        path="/v1/pre-stop",
        id="preStop",
        does="Settle closed hours at once: the pod has begun to end.",
        takes="No body. The preStop hook of the sidecar's container (`entitlement-sidecar pre-stop`) sends it. With"
        " `SIDECAR_GRACE_SECONDS` the running hour is sealed and sent `SIDECAR_FLUSH_SECONDS` before that time is over,"
        " even where the product still runs; pushes are then refused (503 `shutting_down`).",
        answers={
            202: Answer(
                when='`{"stopping": true}`, also where it is known already',
                body=Body(schema=shown(stopping={"const": True}), example={"stopping": True}),
            )
        },
    ),
    Operation(
        method="POST",
        path="/v1/proof",
        id="prove",
        does="Have AWS sign the product's own nonce. For a product that believes AWS rather than a listener:"
        " [Prove the entitlement](../howto/prove-entitlement.md).",
        takes='`{"nonce"}`: 16 to 255 characters, used once. AWS signs that text exactly. The answer takes as long as'
        " AWS does, at most half a minute. It changes nothing at the gate. The pause is of proofs alone, not of"
        " rechecks.",
        request=Body(
            schema=taken("nonce", nonce={"type": "string", "minLength": 16, "maxLength": 255}),
            example={"nonce": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"},
        ),
        answers={
            200: Answer(
                when='`{"token"}`, a JWT that verified here for this product, key and nonce. Verify it in the product',
                body=Body(
                    schema=shown(token={"type": "string"}),
                    example={"token": "eyJhbGciOiJQUzI1NiJ9.eyJub25jZSI6InE4M3YifQ.c2lnbmF0dXJl"},
                ),
            ),
            400: Answer(
                when="the body is not such an object (`bad_request`)",
                reasons=("bad_request",),
                detail="nonce is missing. Send 32 random bytes as base64url: 43 characters.",
            ),
            403: Answer(
                when="the gate is closed with `denied`, or AWS refuses now: reason and hint are those of the"
                " [table](reasons.md)",
                reasons=refusals.GATE,
                detail="Subscribe to the product in AWS Marketplace.",
            ),
            409: Answer(
                when="AWS signs nothing, since `SIDECAR_ENTITLEMENT_CHECK` is not `register_usage` (`nothing_signed`)",
                reasons=("nothing_signed",),
                detail="AWS signs the answers of RegisterUsage alone.",
            ),
            422: Answer(
                when="the nonce is too short or too long (`nonce_length`)",
                reasons=("nonce_length",),
                detail="nonce has 4 characters; it has 16 to 255.",
            ),
            429: Answer(
                when="AWS was asked about another nonce within the last 15 seconds, or is being asked"
                " (`asked_just_now`); `Retry-After` says when to ask again. The same nonce has the same answer for that"
                " long",
                reasons=("asked_just_now",),
                detail="AWS was asked about another nonce a moment ago.",
                headers=(RETRY_AFTER,),
            ),
            502: Answer(
                when="the answer did not verify (`token_nonce` and the like), and is not handed out",
                reasons=refusals.ANSWERS,
                detail="The answer does not repeat the nonce.",
            ),
            503: Answer(
                when="the gate is not open yet, with its reason, or AWS could not be asked; `Retry-After`",
                reasons=refusals.GATE,
                detail="AWS has not answered yet.",
                headers=(RETRY_AFTER,),
            ),
        },
    ),
    Operation(
        method="GET",
        path="/",
        id="getPage",
        does="Show all of it to a person: [the status page](../howto/status-page.md).",
        takes="`?refresh=on`: the page reloads itself every 15 seconds where scripts are off.",
        query=(
            Query(
                name="refresh",
                description="`on`: the page reloads itself every 15 seconds where scripts are off.",
                schema={"type": "string"},
                example="on",
            ),
        ),
        answers={
            200: Answer(
                when="one HTML file that fetches nothing else, with a strict `Content-Security-Policy`",
                body=Body(
                    schema={"type": "string"},
                    example='<!doctype html>\n<html lang="en">…</html>\n',
                    media_type="text/html; charset=utf-8",
                ),
            )
        },
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        id="getOpenApi",
        does="Show this API as an [OpenAPI 3.1](openapi.json) document.",
        answers={
            200: Answer(
                when="the document",
                body=Body(
                    schema=shown(openapi={"type": "string"}, info={"type": "object"}, paths={"type": "object"}),
                    example={"openapi": "3.1.0", "info": {"title": "entitlement-sidecar", "version": "1"}, "paths": {}},
                ),
            )
        },
    ),
)
