"""Join what keeps an open gate shut: metering's hold, and a seat that is lost.

Invariants:
- Each is set and ended by its own loop; the gate opens again when both have ended. Metering's is shown first.
- Both survive a crash of the worker in the restart state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidecar.entitlement.hold import Hold, Shown, with_hold
from sidecar.entitlement.status import GateState, Status
from sidecar.restart_state import RestartState


class Holds:
    """What keeps the gate shut that AWS opened."""

    def __init__(self) -> None:
        self.of_metering: Hold | None = None
        self._shown: Shown | None = None
        self._of_seats: Shown | None = None

    def set_metering(self, hold: Hold | None, shown: Shown | None) -> None:
        """Set metering's; `shown`: instead of what the hold has."""
        self.of_metering, self._shown = hold, shown

    def set_seats(self, shown: Shown | None) -> None:
        """Set what a lost seat shows, or end that."""
        self._of_seats = shown

    def applied(self, state: GateState) -> GateState:
        """Return what the gate shows."""
        if self.of_metering is None and self._of_seats is not None:
            return with_hold(state, Hold.SEAT_LOST, self._of_seats)
        return with_hold(state, self.of_metering, self._shown)

    def save(self, restart_state: RestartState) -> None:
        """Leave them for the next worker of this process."""
        status, reason, hint = self._of_seats or (None, "", "")
        restart_state.update(
            hold=self.of_metering.value if self.of_metering else None,
            seat_hold=[status.value, reason, hint] if status else None,
        )

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over from an earlier worker."""
        self.of_metering = Hold(saved["hold"]) if saved.get("hold") else None
        if saved.get("seat_hold"):
            status, reason, hint = saved["seat_hold"]
            self._of_seats = (Status(status), reason, hint)
