"""Take usage from the routes and give them records, over the ledger of this workload.

Invariants:
- The writer's thread gives a push its result, after the disk has it; no thread waits here.
- Until the workload is known, and while its ledger cannot be opened, a push is refused (503) with the reason.
- While the disk does not respond, each push is refused (503) at once and not stored.
- Refusals are counted by reason, also those that never reach the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from sidecar.billing.loop import STUCK, BillingLoop
from sidecar.billing.orphans import commit_in_doubt
from sidecar.clock import Clock
from sidecar.errors import DecisionRefused, SidecarError
from sidecar.ledger.gone_records import FOR_A_PERSON
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import State
from sidecar.settings import Dimension, Settings

WORKLOAD_UNKNOWN: Final = (
    "workload_unknown",
    "It is not known yet which task or pod is metered; GET /v1/status says what is missing. Send it again in a second.",
)


UNSETTLED: Final = (State.SEALED, State.EXPIRED, *FOR_A_PERSON)
"""A record in one of these states has not been accepted by AWS, and its hour is closed."""


class LedgerUsage:
    """An `api.ports.UsagePort` over the ledger of the billing loop."""

    def __init__(self, settings: Settings, loop: BillingLoop, clock: Clock) -> None:
        self.dimensions: Mapping[str, Dimension] = {one.name: one for one in settings.dimensions}
        self._loop, self._clock = loop, clock
        self.refusals: dict[str, int] = {}
        """Pushes refused, by reason."""

    def now(self) -> datetime:
        return self._clock.now()

    def push(
        self, events: Sequence[UsageEvent], now: datetime, on_result: Callable[[PushAccepted | PushRefused], None]
    ) -> None:
        def counted(result: PushAccepted | PushRefused) -> None:
            if isinstance(result, PushRefused):
                self.count_refusal(result.reason)
            on_result(result)

        ledger = self._loop.ledger
        if ledger is None or self._loop.monitor.stuck:
            reason, hint = STUCK if ledger else self._unavailable()
            counted(PushRefused(status=503, reason=reason, detail=hint))
        else:
            ledger.begin_push(events, now, counted)

    def commit_pending(self) -> None:
        ledger = self._loop.ledger
        if ledger is not None:
            ledger.commit_pending()

    def count_refusal(self, reason: str) -> None:
        """Count a push that was refused."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def records(self) -> Iterator[UsageRecord]:
        return self._ledger().records()

    def recent_records(self, since: Hour) -> Sequence[UsageRecord]:
        ledger = self._ledger()
        waiting = [one for state in UNSETTLED for one in ledger.in_state(state) if one.hour < since]
        return [*sorted(waiting, key=lambda one: (one.hour, one.dimension)), *ledger.records(since)]

    @property
    def workload(self) -> str:
        return self._loop.events.workload

    def orphans(self) -> Sequence[tuple[str, UsageRecord]]:
        return self._loop.orphans.records

    def resolve(self, resolution: Resolution) -> Sequence[UsageRecord]:
        ledger, now = self._ledger(), self._clock.now()
        if resolution.workload not in (None, self.workload):
            results = ledger.neighbours.resolve(resolution, now, commit_in_doubt)
            found = tuple(record for one in results for record in one.changed)
            self._loop.orphans.resolved({one.path: one.waiting for one in results})
        else:
            found = tuple(
                ledger.apply_action(
                    record.hour,
                    record.dimension,
                    resolution.action,
                    now,
                    record_id=resolution.record_id,
                    quantity=resolution.quantity,
                )
                for state in FOR_A_PERSON
                for record in ledger.in_state(state)
                if resolution.covers(record)
            )
        if resolution.names_one and not found:
            raise DecisionRefused(404, *_nothing_waits(resolution))
        self._loop.events.resolved(resolution, found)
        self._loop.send_now()
        return found

    def export(self, after: str) -> tuple[Sequence[str], str]:
        return self._ledger().export_page(after)

    def _ledger(self) -> Ledger:
        ledger = self._loop.ledger
        if ledger is None:
            raise SidecarError(*self._unavailable())
        return ledger

    def _unavailable(self) -> tuple[str, str]:
        """Return why there is no ledger."""
        fault = self._loop.fault
        return (fault.reason, fault.hint) if fault else WORKLOAD_UNKNOWN


def _nothing_waits(resolution: Resolution) -> tuple[str, str]:
    """Return reason and hint for a decision about one record that does not wait for any."""
    hour = f"{resolution.hour.start:%Y-%m-%dT%H:%M:%SZ}" if resolution.hour else "?"
    hint = (
        f"No record of hour {hour} and dimension {resolution.dimension} waits for a person. `usage` shows the state of"
        " each: a record that is settled already needs no decision."
    )
    return "record_not_found", hint
