"""Write the pod's condition and events. The child's job `report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.clock import SystemClock
from sidecar.pod_status.messages import StatusUpdate, result_line
from sidecar.pod_status.writer import write_all


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Write what the payload names; emit a line for each result."""
    update = StatusUpdate.from_payload(payload)
    for result in write_all(update.api, update.condition, update.events, SystemClock().now()):
        emit(result_line(result))
