"""Keep the last changes of the gate in memory, for the status document and the status page.

Invariants:
- A change is another status or another reason; an answer that says the same again is none.
- It is bounded, and each worker starts with an empty one: the log has every answer.
- `note` may be called by any thread, and reading waits for none of them.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import Final

from sidecar.clock import iso
from sidecar.entitlement.status import GateState
from sidecar.quick_dataclasses import dataclass

KEPT: Final = 50
"""Changes; a gate that cannot reach AWS changes its reason every few minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateChange:
    """When the gate came to show something else, and what."""

    at: datetime
    status: str
    reason: str

    def as_json(self) -> dict[str, object]:
        """Return it as an item of `history` in `GET /v1/status`."""
        return {"at": iso(self.at), "status": self.status, "reason": self.reason}


class GateHistory:
    """The last changes of the gate."""

    def __init__(self, kept: int = KEPT) -> None:
        self._changes: deque[GateChange] = deque(maxlen=kept)
        self._noting = threading.Lock()

    def note(self, state: GateState, now: datetime) -> None:
        """Keep the state where it is another than the last one."""
        change = GateChange(at=now, status=state.status.value, reason=state.reason)
        with self._noting:
            last = self._changes[-1] if self._changes else None
            if last is None or (last.status, last.reason) != (change.status, change.reason):
                self._changes.append(change)

    def as_json(self) -> list[dict[str, object]]:
        """Return the changes, oldest first."""
        return [one.as_json() for one in self._changes.copy()]
