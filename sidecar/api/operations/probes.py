"""Describe the probe routes, which both listeners have.

Sources: kubernetes.io, "Configure Liveness, Readiness and Startup Probes"; prometheus.io, "Exposition formats".
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.api.metrics import CONTENT_TYPE, PREFIX
from sidecar.api.operations import refusals
from sidecar.api.operations.operation import RETRY_AFTER, Answer, Body, Operation
from sidecar.api.operations.schemas import ref, shown


def _entitlement(status: str, reason: str, hint: str) -> Body:
    example: dict[str, Any] = {
        "entitled": status == "entitled",
        "status": status,
        "reason": reason,
        "hint": hint,
        "product_code": "4xqg3mvklp0b7d0z9nbx2u8yy",
        "checked_at": "2026-11-20T10:00:00.000Z",
        "metering_overdue_since": None,
    }
    return Body(schema=ref("Entitlement"), example=example)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/entitled",
        id="getEntitled",
        does="Say whether the product may run. For startup and readiness probes, and for the product.",
        answers={
            200: Answer(
                when='`entitled`. `{"entitled": true, "status": "entitled", "reason": "registered", "hint": "…",'
                ' "product_code": "…", "checked_at": "2026-11-20T10:00:00.000Z", "metering_overdue_since": null}`',
                body=_entitlement("entitled", "registered", "AWS confirmed this workload."),
            ),
            403: Answer(
                when="`denied`, with the same body",
                body=_entitlement("denied", "customer_not_entitled", "Subscribe to the product in AWS Marketplace."),
            ),
            503: Answer(
                when="`pending`, `unavailable` or `misconfigured`, with the same body; `Retry-After` says when to ask",
                body=_entitlement("pending", "asking", "AWS has not answered yet."),
                headers=(RETRY_AFTER,),
            ),
        },
        is_probe=True,
    ),
    Operation(
        method="GET",
        path="/healthz",
        id="getHealth",
        does="Say whether the process and its loops run. For the liveness probe. Entitlement does not show here.",
        answers={
            200: Answer(
                when='`{"healthy": true}`',
                body=Body(schema=shown(healthy={"const": True}), example={"healthy": True}),
            ),
            503: Answer(
                when="a loop stopped (`loop_stopped`); the detail names it",
                reasons=("loop_stopped",),
                detail="The metering loop has stopped; restart the container.",
            ),
        },
        is_probe=True,
    ),
    Operation(
        method="GET",
        path="/metrics",
        id="getMetrics",
        does="Show the [metrics](metrics.md). For Prometheus.",
        answers={
            200: Answer(
                when="Prometheus text format 0.0.4",
                body=Body(
                    schema={"type": "string"},
                    example=f"# HELP {PREFIX}entitled 1 while the gate is open.\n# TYPE {PREFIX}entitled gauge\n"
                    f"{PREFIX}entitled 1\n",
                    media_type=CONTENT_TYPE,
                ),
            )
        },
        is_probe=True,
    ),
    Operation(
        method="GET",
        path="/readyz",
        id="getReadiness",
        does="Say whether the gate is open and usage can be kept. For people and alerts. A pod's readiness probe asks"
        " `/entitled`, so that a full disk stops no traffic.",
        answers={
            200: Answer(
                when='`{"ready": true}`', body=Body(schema=shown(ready={"const": True}), example={"ready": True})
            ),
            503: Answer(
                when="the gate is closed, or usage cannot be kept or reported: the reason says which",
                reasons=refusals.GATE,
                detail="The gate is shut: pending. AWS has not answered yet.",
            ),
        },
        is_probe=True,
    ),
)
