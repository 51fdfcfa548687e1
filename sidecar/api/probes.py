"""Answer the four probe routes, for the kubelet, ECS and Prometheus.

Invariants:
- They read memory; they never ask AWS, never touch the disk, never wait for a lock. Where metering does not run, they
  are what finds out that usage is overdue.
- A shut gate is 4xx or 5xx, never a redirect: the kubelet takes 3xx for success.
- Entitlement never shows in `/healthz`: a denied customer's sidecar is healthy.

Sources: kubernetes.io, "Configure Liveness, Readiness and Startup Probes".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from sidecar.api import metrics
from sidecar.api.ports import StatusPort
from sidecar.api.reply import Reply, refusal
from sidecar.clock import iso
from sidecar.entitlement.status import Status

HTTP_STATUS: Final[Mapping[Status, int]] = {
    Status.ENTITLED: 200,
    Status.DENIED: 403,
    Status.PENDING: 503,
    Status.UNAVAILABLE: 503,
    Status.MISCONFIGURED: 503,
}


def entitled(view: StatusPort) -> Reply:
    """Return 200 while entitled, 403 while denied, otherwise 503 with Retry-After."""
    overdue_since = view.metering_overdue_since()  # first: finding that out may shut the gate
    gate = view.gate_state()
    status = HTTP_STATUS[gate.status]
    headers = (("Retry-After", str(view.retry_after_seconds())),) if status == 503 else ()
    body = _body(gate.entitled, gate.status, gate.reason, gate.hint, view.product_code, gate.checked_at, overdue_since)
    return Reply(status=status, body=body, headers=headers)


@lru_cache(maxsize=2)
def _body(
    entitled: bool,
    status: Status,
    reason: str,
    hint: str,
    product_code: str,
    checked_at: datetime | None,
    overdue_since: datetime | None,
) -> bytes:
    """Return the body of `/entitled`. Most probes find what the one before has found."""
    body = {
        "entitled": entitled,
        "status": status.value,
        "reason": reason,
        "hint": hint,
        "product_code": product_code,
        "checked_at": iso(checked_at) if checked_at else None,
        "metering_overdue_since": iso(overdue_since) if overdue_since else None,
    }
    return json.dumps(body).encode()


def healthz(view: StatusPort) -> Reply:
    """Return 200 while the process and its loops run."""
    stopped = view.stopped_loop()
    if stopped:
        return refusal(503, "loop_stopped", f"The {stopped} loop has stopped; restart the container.")
    return Reply(status=200, body=b'{"healthy": true}')


def readyz(view: StatusPort) -> Reply:
    """Return 200 where entitled, and usage can be stored and reported. For people and alerts."""
    fault = view.metering_fault()  # first: finding that out may shut the gate
    gate = view.gate_state()
    if not gate.entitled:
        return refusal(503, gate.reason, f"The gate is shut: {gate.status.value}. {gate.hint}")
    if fault is not None:
        reason, hint = fault
        return refusal(503, reason, f"Usage cannot be kept or reported. {hint}")
    return Reply(status=200, body=b'{"ready": true}')


def metrics_page(view: StatusPort) -> Reply:
    """Return every metric as Prometheus text."""
    return Reply(status=200, body=metrics.text(view.metrics()), content_type=metrics.CONTENT_TYPE)


ROUTES: Final[Mapping[str, Callable[[StatusPort], Reply]]] = {
    "/entitled": entitled,
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics_page,
}
