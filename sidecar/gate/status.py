"""Describe the gate: its parts of the status document, and its metrics.

Invariants:
- What is shown is what the entitlement loop has in memory; nothing here waits.
"""

from __future__ import annotations

from sidecar.api.metrics import Metric, counter, gauge
from sidecar.clock import iso
from sidecar.entitlement.status import Status
from sidecar.gate.loop import EntitlementLoop
from sidecar.settings import Settings


def document(loop: EntitlementLoop, settings: Settings) -> dict[str, dict[str, object]]:
    """Return `entitlement`, `workload` and `aws` of `GET /v1/status`."""
    state, identity, result = loop.state, loop.identity, loop.result
    return {
        "entitlement": {
            "entitled": state.entitled,
            "status": state.status.value,
            "reason": state.reason,
            "hint": state.hint,
            "checked_at": iso(state.checked_at) if state.checked_at else None,
            "asking_since": iso(state.asking_since),
            "product_code": settings.product_code,
            "entitlement_check": settings.entitlement_check.value,
            "public_key_version": result.public_key_version,
            "public_key_superseded_at": result.rotation_at,
            "public_key_weak_bits": result.weak_key_bits,
            "kept_answer": result.from_kept_answer,
            "aws_error": result.code or None,
            "aws_request_id": result.request_id or None,
        },
        "workload": {
            "id": identity.workload or None,
            "kind": identity.workload_kind or None,
            **identity.labels,
        },
        "aws": {
            "region": identity.region or None,
            "region_source": identity.region_source or None,
            "region_disagreement": identity.region_disagreement,
            "partition": result.partition or None,
            "host": result.host or None,
            "credential_source": result.credential_source or None,
            "credential_caution": result.credential_caution or None,
            "role": result.role or None,
        },
    }


def metrics(loop: EntitlementLoop) -> list[Metric]:
    """Return the metrics of gate and checks."""
    state, result, counts = loop.state, loop.result, loop.counts
    found = [
        gauge("entitled", "1 while the gate is open.", state.entitled),
        Metric(
            name="status",
            kind="gauge",
            help="1 for the status /entitled shows, 0 for the others.",
            samples=[({"status": one.value}, float(one is state.status)) for one in Status],
        ),
        Metric(
            name="registration_answers_total",
            kind="counter",
            help="Answers to the question whether this may run, by class.",
            samples=[({"answer": name}, float(count)) for name, count in counts.answers.items()],
        ),
        gauge("registration_duration_seconds", "How long the last question took.", counts.seconds_last),
        counter("answers_not_kept_total", "Verified answers that could not be kept on disk.", counts.not_kept),
        gauge(
            "public_key_superseded", "1 when AWS has rotated the public key this image ships.", bool(result.rotation_at)
        ),
        gauge("public_key_weak", "1 when the key is shorter than 2048 bits.", bool(result.weak_key_bits)),
        gauge("kept_answer", "1 while the gate is open on a kept answer.", result.from_kept_answer),
    ]
    if state.checked_at:
        found.append(gauge("checked_timestamp_seconds", "When AWS was last asked.", state.checked_at.timestamp()))
    return found
