"""Name what the rest of the worker may ask of metering, so that a product without dimensions imports no ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sidecar.api.metrics import Metric
from sidecar.api.ports import UsagePort
from sidecar.attempts import Attempts


class Loop(Protocol):
    """The billing loop. Everything here returns at once, unless it says otherwise."""

    @property
    def stopped_loop(self) -> str | None:
        """Return the loop's name, once it broke."""

    @property
    def overdue_since(self) -> datetime | None:
        """Return since when nothing could be reported, once that is too long."""

    def start(self) -> None:
        """Start the loop."""

    def set_identity(self, workload: str, region: str) -> None:
        """Set which workload is metered, and where; empty texts are ignored."""

    def wait_until_loaded(self) -> None:
        """Wait, for a moment, until the ledger was read, where it may know of a denial."""

    def send_now(self) -> None:
        """Submit what is held, whatever the pause."""

    def prepare_stop(self) -> None:
        """Settle closed hours at once, since the workload has begun to end; SIGTERM follows, perhaps too late."""

    def stop(self) -> None:
        """Settle what can be settled, since the process ends."""

    def stopped(self) -> bool:
        """Return whether that is done."""


class Metering(Protocol):
    """Metering as the rest of the worker knows it. Everything here returns at once."""

    @property
    def loop(self) -> Loop:
        """Return the loop."""

    @property
    def usage(self) -> UsagePort:
        """Return what the routes call."""

    @property
    def unused_ledgers(self) -> Sequence[str]:
        """Return ledgers in the state directory while nothing is metered: their usage is not billed."""

    @property
    def for_a_person(self) -> Mapping[str, int]:
        """Return the number of records that wait for a person, by state."""

    @property
    def fault(self) -> tuple[str, str] | None:
        """Return reason and hint, where usage cannot be stored, or is overdue and that makes the sidecar not ready."""

    @property
    def attempts(self) -> Attempts:
        """Return the records submitted, by what came of each."""

    @property
    def passed_at(self) -> datetime | None:
        """Return when the loop's last pass ended."""

    def status(self) -> Mapping[str, object] | None:
        """Return `metering` of `GET /v1/status`; None where nothing is metered."""

    def metrics(self) -> Sequence[Metric]:
        """Return metering's part of `/metrics`."""
