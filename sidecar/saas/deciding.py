"""Apply a person's decision about records that wait: send again, roll forward, confirm, accept AWS's quantity.

Invariants:
- The moves that are allowed are those of `metering.states`. A disputed record is not sent again: AWS would say the
  same, and its answer could no longer be told from that to a request of ours.
- Only the replica that leads decides: it alone writes outcomes.

Sources: `metering.states`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.errors import DecisionRefused
from sidecar.metering.decide import Decision
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord, accepted_as_billed, sent_again
from sidecar.metering.states import Action, Disposition, State, next_state
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.saas.customers import CustomerState, Reference
from sidecar.saas.records import CustomerDecision, CustomerRecord
from sidecar.saas.store import Store

BY_A_PERSON: Final = "by a person"
WAITING: Final = (State.REJECTED, State.DISPUTED)


@dataclass(frozen=True, kw_only=True)
class PersonsDecision:
    """One decision, and which records it is for. None: any."""

    action: Action = Action.RETRY
    customer: Reference | None = None
    hour: Hour | None = None
    dimension: str | None = None
    record_id: str | None = None
    quantity: Decimal | None = None

    def covers(self, record: CustomerRecord) -> bool:
        """Return whether it is for this record, which waits for a person."""
        usage = record.usage
        return (
            usage.state in WAITING
            and not (self.action is Action.RETRY and usage.state is State.DISPUTED)
            and self.hour in (None, usage.hour)
            and self.dimension in (None, usage.dimension)
        )


def apply(store: Store, leads: Callable[[], bool], wanted: PersonsDecision, now: datetime) -> Sequence[CustomerRecord]:
    """Apply a decision and return the records as they are then.

    Raises StoreError, DecisionRefused and IllegalTransition where nothing was changed.
    """
    if not leads():
        hint = "Another replica seals and sends, and decides; send the same there, or again in a moment."
        raise DecisionRefused(503, "not_leading", hint)
    found = [record for record in store.records(wanted.customer, states=WAITING) if wanted.covers(record)]
    if not found and wanted.hour is not None:
        raise DecisionRefused(404, "record_not_found", "no such record waits for a person; see GET /v1/usage.")
    if wanted.action is Action.ROLL_FORWARD:
        _refuse_closed(store, found)
    decisions = [CustomerDecision(record, _decision(record.usage, wanted, now)) for record in found]
    return store.save(decisions, now) if decisions else ()


def _refuse_closed(store: Store, records: Sequence[CustomerRecord]) -> None:
    """Raise DecisionRefused where a record's customer takes no usage any more: no later hour bills it."""
    closed = {one.key for one in store.customers() if one.closed_at is not None or one.state is CustomerState.ENDED}
    if any(record.customer in closed for record in records):
        hint = "the customer's subscription has ended, and no later hour will be billed. Confirm it, or accept AWS's."
        raise DecisionRefused(409, "customer_closed", hint)


def _decision(usage: UsageRecord, wanted: PersonsDecision, now: datetime) -> Decision:
    moved, disposition = _moved(usage, wanted, now)
    return Decision(
        record=moved,
        disposition=disposition,
        code=f"{wanted.action.value} {BY_A_PERSON}",
        reason=wanted.action.value,
        hint="",
        roll_forward=wanted.action is Action.ROLL_FORWARD,
    )


def _moved(usage: UsageRecord, wanted: PersonsDecision, now: datetime) -> tuple[UsageRecord, Disposition]:
    if wanted.action is Action.RETRY:
        return sent_again(usage, now), Disposition.HOLD
    if wanted.action is Action.ROLL_FORWARD:
        return replace(usage, retry_at=None), Disposition.EXPIRE
    if wanted.action is Action.ACCEPT_AWS and wanted.quantity is not None:
        return accepted_as_billed(usage, wanted.quantity), Disposition.SETTLE
    state = next_state(usage.state, Action.CONFIRM)
    return replace(usage, state=state, record_id=wanted.record_id, last_error=None, retry_at=None), Disposition.SETTLE
