"""Name what the rest of the worker may ask of metering, so that a product without dimensions imports no ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sidecar.api.metrics import Metric
from sidecar.api.ports import UsagePort


class Metering(Protocol):
    """What the rest of the worker knows of metering. Everything here returns at once, unless it says otherwise."""

    @property
    def usage(self) -> UsagePort:
        """Return what the routes ask."""

    @property
    def stopped_loop(self) -> str | None:
        """Return the metering loop's name, once it broke."""

    @property
    def overdue_since(self) -> datetime | None:
        """Since when nothing could be reported, once that is too long."""

    @property
    def for_a_person(self) -> Mapping[str, int]:
        """Return records that wait for a person, by state."""

    @property
    def fault(self) -> tuple[str, str] | None:
        """Reason and hint, where usage cannot be kept, or is overdue and that makes the sidecar not ready."""

    def start(self) -> None:
        """Begin."""

    def set_identity(self, workload: str, region: str) -> None:
        """Set who is metered, and where; empty texts say nothing."""

    def wait_until_loaded(self) -> None:
        """Wait, a little, until what the ledger knows of denials is known."""

    def send_now(self) -> None:
        """Send what is held, whatever the pause."""

    def stop(self) -> None:
        """SIGTERM: settle what can be settled."""

    def stopped(self) -> bool:
        """Return whether that is done."""

    def status(self) -> Mapping[str, object] | None:
        """For `GET /v1/status`; None where nothing is metered."""

    def metrics(self) -> Sequence[Metric]:
        """For `/metrics`."""
