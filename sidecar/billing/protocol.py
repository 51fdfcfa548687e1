"""Is anything metered? Puts settlement, usage and its picture together, where a dimension is set.

Rules kept here:
- Ledger, SQLite and the metering loop are imported only then: a sidecar is multiplied by every pod.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.api.ports import Metric, Usage
from sidecar.billing.disabled import NoMetering
from sidecar.clock import Clock
from sidecar.gate.messages import Report
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.billing.gate_policy import Gate
    from sidecar.billing.loop import End


LOOP: Final = "metering"
"""The loop's name in `/healthz`, status and metrics."""


class Metering(Protocol):
    """What the rest of the worker knows of metering. Everything here returns at once, unless it says otherwise."""

    @property
    def usage(self) -> Usage:
        """What the routes ask."""

    @property
    def stopped_loop(self) -> str | None:
        """The metering loop's name, once it broke."""

    @property
    def overdue_since(self) -> datetime | None:
        """Since when nothing could be reported, once that is too long."""

    @property
    def for_a_person(self) -> Mapping[str, int]:
        """Records that wait for a person, by state."""

    @property
    def fault(self) -> tuple[str, str] | None:
        """Reason and hint, where usage cannot be kept, or is overdue and that makes the sidecar not ready."""

    def start(self) -> None:
        """Begin."""

    def placed(self, report: Report) -> None:
        """Who is metered, and where."""

    def wait_until_looked(self) -> None:
        """Wait, a little, until what the ledger knows of denials is known."""

    def send_now(self) -> None:
        """Send what is held, whatever the pause."""

    def stop(self) -> None:
        """SIGTERM: settle what can be settled."""

    def stopped(self) -> bool:
        """Whether that is done."""

    def status(self) -> Mapping[str, object] | None:
        """For `GET /v1/status`; None where nothing is metered."""

    def metrics(self) -> Sequence[Metric]:
        """For `/metrics`."""


def metering(
    settings: Settings, clock: Clock, gate: Gate, end: End, changed: Callable[[], None] = lambda: None
) -> Metering:
    """Metering as the settings want it. `changed`: what waits may be other than before."""
    if not settings.dimensions:
        return NoMetering(clock)
    from sidecar.billing.service import Meter

    return Meter(settings, clock, gate, end, changed=changed)
