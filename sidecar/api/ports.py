"""What does HTTP need to know? The callables and values the agent hands in.

Rules kept here:
- Everything in View reads memory and returns at once; probes are answered from it.
- What waits for a disk is in Usage, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from sidecar.entitlement.status import GateState
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.settings import Dimension

if TYPE_CHECKING:  # a product that is not metered pays nothing for metering
    from sidecar.metering.hours import Hour
    from sidecar.metering.records import Action, UsageRecord


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One Prometheus metric with its samples: label values → value."""

    name: str
    """Without the common prefix."""
    kind: str
    """`gauge` or `counter`; a counter's name ends in `_total`."""
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


class Usage(Protocol):
    """Usage in, records out. Without dimensions there is one too: it knows no dimension and no record."""

    @property
    def dimensions(self) -> Mapping[str, Dimension]:
        """Return what may be pushed, by name."""

    def now(self) -> datetime:
        """Return the instant a push comes in. Returns at once."""

    def push(
        self, events: Sequence[UsageEvent], now: datetime, answered: Callable[[PushAccepted | PushRefused], None]
    ) -> None:
        """Have events kept, all or none, by the next `hand_over`. Returns at once; `answered` is called once, on any
        thread, and after the disk has them. It must be quick and not raise.
        """

    def commit_pending(self) -> None:
        """Have what was pushed kept now, all of it together. Returns at once."""

    def refused(self, reason: str) -> None:
        """Count a push that was refused before it came to `push`."""

    def records(self) -> Iterator[UsageRecord]:
        """Yield every record, oldest first, open hours last. Waits for the disk. Raises SidecarError."""

    def act(
        self, what: Action, hour: Hour | None, dimension: str | None, record_id: str | None
    ) -> Sequence[UsageRecord]:
        """Return what a person decides about the rejected and disputed records of an hour and a dimension, or of all;
        as they are then. `record_id`: AWS's receipt, where the act is to confirm. Waits for the disk.

        Raises SidecarError, and IllegalTransition where nothing was changed.
        """

    def export(self, after: str) -> tuple[Sequence[str], str]:
        """Return the next page of the audit copy, as lines of JSON, and what to give as `after` for the page behind it;
        empty at the beginning and at the end. Waits for the disk. Raises SidecarError.
        """


class StatusPort(Protocol):
    """What the routes read and may ask for."""

    product_code: str
    usage: Usage

    def standing(self) -> GateState:
        """Return where the gate stands now."""

    def retry_after_seconds(self) -> int:
        """Return when a shut gate is worth another look, at least 1."""

    def stopped_loop(self) -> str | None:
        """Return the name of a loop that died, or None."""

    def metering_overdue_since(self) -> datetime | None:
        """Since when usage should have been reported and could not be, or None."""

    def metering_fault(self) -> tuple[str, str] | None:
        """Reason and hint where usage cannot be kept, or its being overdue counts as not ready; else None."""

    def metrics(self) -> Sequence[Metric]:
        """Return everything there is to count."""

    def status(self) -> Mapping[str, object]:
        """Return the whole picture, for `GET /v1/status`."""

    def recheck(self) -> int:
        """Ask AWS again: 0 when it is being asked, otherwise seconds to wait before one may."""
