"""Rows in few words."""

from __future__ import annotations

from typing import Any

from sidecar.audit.rows import BILLED, SETTLED, Row

HOUR = 490_000
MICROS = 1_000_000


def ours(record_id: str = "r-1", quantity: int = 7, **more: Any) -> Row:
    """Return a settled record of one pod."""
    values: dict[str, Any] = {
        "hour": HOUR,
        "dimension": "requests",
        "state": SETTLED,
        "quantity": quantity * MICROS,
        "record_id": record_id,
        "tokens": f"token-{record_id}",
        "workload": f"pod-{record_id}",
        "product": "product",
        "region": "us-east-1",
        "origin": f"export:{record_id}",
    }
    return Row(**{**values, **more})


def waiting(state: str, name: str = "w-1", quantity: int = 7, **more: Any) -> Row:
    """Return a record of ours that is not settled."""
    values = {"state": state, "tokens": f"token-{name}", "workload": f"pod-{name}", **more}
    return ours("", quantity, **values)


def billed(record_id: str = "r-1", quantity: int = 7, **more: Any) -> Row:
    """Return an event of AWS's."""
    values = {"state": BILLED, "tokens": "", "workload": "", "account": "1", "origin": f"event:{record_id}", **more}
    return ours(record_id, quantity, **values)
