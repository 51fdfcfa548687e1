"""Decide what becomes of a record once AWS has answered, or has not.

`dispositions` has what a code means, `marketplace` gets the answer, and the ledger stores the step.

Invariants:
- Once one attempt was not definitely refused the record never counts as such again: a lost answer may have meant that
  AWS took the record.
- Too late: rolled forward where every attempt was definitely refused, else for a person (`outcome_unknown`), since
  billing it again could bill it twice.
- A repair only follows a definite refusal of the very request it replaces, each kind once; hour and quantity stay.
- Disputed quantities are billed again only where a setting says so, also when they were sent again too late.

Sources: AWS Marketplace API Reference, MeterUsage (identical requests count once; six hours).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

from sidecar.metering.dispositions import Row, classify
from sidecar.metering.hours import Hour
from sidecar.metering.records import Action, Disposition, Repair, UsageRecord, next_state, repaired, repairs
from sidecar.metering.schedule import backoff, too_late


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """AWS gave a metering record id."""

    record_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """An error came back: AWS's code, or the name of the SDK's exception."""

    code: str
    message: str = ""
    """Only tells a bad clock from a bad signature; never kept."""
    retry_after_seconds: float | None = None
    sent: bool = True
    """False where MeterUsage was certainly not called, for example since STS refused credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """Nobody can say what AWS did: no answer, or one without a record id."""

    code: str


Outcome = Settled | Refused | Unknown


SETTLED: Final = ("settled", "AWS gave a metering record id.")
LATE: Final = (
    "too_late",
    "AWS takes usage up to 6 hours old. This hour was certainly not billed; it is counted in the open hour.",
)
OUTCOME_UNKNOWN: Final = (
    "outcome_unknown",
    "The hour is too old to be sent again, and AWS may have billed it: an answer was lost, or it holds another"
    " quantity. Compare with the bill, then decide with `entitlement-sidecar usage retry`.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What the operator chose, and for whom."""

    workload: str
    roll_forward_disputed: bool = False
    """`SIDECAR_ON_DISPUTE=roll_forward`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The record after an answer, and what else is to be done in the same transaction."""

    record: UsageRecord
    disposition: Disposition
    reason: str
    hint: str
    refresh: bool = False
    """Forget credentials before the next attempt."""
    repair: Repair | None = None
    """`record.request` is newly sealed: keep it before it is sent."""
    roll_forward: bool = False
    """Count the quantity in the open hour, then move the record on with `Act.ROLL_FORWARD`."""


def begun(record: UsageRecord) -> UsageRecord:
    """Return what is on disk while a request is under way: if we end before the answer, the outcome is unknown.

    The answer itself is judged by `decide`, from the record as it was before.
    """
    return replace(record, attempts=record.attempts + 1, definite=False)


def decide(record: UsageRecord, outcome: Outcome, now: datetime, policy: Policy, chance: float) -> Decision:
    """Return what an answer to `record.request` means. Raises IllegalTransition unless the record is sealed."""
    tried = replace(record, attempts=record.attempts + 1, retry_at=None)
    if isinstance(outcome, Settled):
        settled = replace(tried, record_id=outcome.record_id, last_error=None)
        return _decision(settled, Disposition.SETTLE, SETTLED)
    if isinstance(outcome, Unknown):
        row, definite, floor = classify(outcome.code), False, None
    elif isinstance(outcome, Refused):
        row = classify(outcome.code, outcome.message)
        definite, floor = row.definite or not outcome.sent, outcome.retry_after_seconds
    else:
        assert_never(outcome)
    tried = replace(tried, last_error=outcome.code, definite=record.definite and definite)
    if row.disposition is Disposition.EXPIRE:
        return expired(tried, (row.reason, row.hint))
    if row.disposition is Disposition.DISPUTE:
        held = replace(tried, definite=False)  # something is billed for the hour: sent again too late, it waits still
        return _decision(held, Disposition.DISPUTE, (row.reason, row.hint), roll=policy.roll_forward_disputed)
    if row.disposition is Disposition.REPAIR:
        return _repair(tried, row, now, policy)
    if row.disposition is Disposition.HOLD:
        return _hold(record, tried, row, now, backoff(tried.attempts, chance, row.slow, floor) + now)
    return _decision(tried, row.disposition, (row.reason, row.hint))


def decide_if_late(record: UsageRecord, now: datetime) -> Decision | None:
    """Return what becomes of a record that is too late to be sent; None while it is not."""
    return expired(record, LATE) if too_late(record.hour, now) else None


def expired(record: UsageRecord, why: tuple[str, str]) -> Decision:
    """Rolled forward where AWS has certainly not billed it; else a person must look."""
    if record.definite:
        return _decision(replace(record, retry_at=None), Disposition.EXPIRE, why, roll=True)
    unknown = replace(record, retry_at=None, last_error=OUTCOME_UNKNOWN[0])
    return _decision(unknown, Disposition.REJECT, OUTCOME_UNKNOWN)


def rolled_forward(record: UsageRecord, into: Hour) -> UsageRecord:
    """Return the record once its quantity is counted in a later hour. Raises IllegalTransition."""
    return replace(record, state=next_state(record.state, Action.ROLL_FORWARD), rolled_to=into, retry_at=None)


def sent_again(record: UsageRecord, now: datetime) -> UsageRecord:
    """Return the record once a person wants its request sent again. Raises IllegalTransition."""
    return replace(record, state=next_state(record.state, Action.RETRY), retry_at=now)


def _decision(record: UsageRecord, disposition: Disposition, why: tuple[str, str], roll: bool = False) -> Decision:
    after_it = replace(record, state=next_state(record.state, disposition))
    return Decision(record=after_it, disposition=disposition, reason=why[0], hint=why[1], roll_forward=roll)


def _hold(record: UsageRecord, tried: UsageRecord, row: Row, now: datetime, later: datetime) -> Decision:
    """Again later; at once where fresh credentials may help and were not tried just now."""
    at_once = row.once_more and classify(record.last_error or "") is not row
    decision = _decision(replace(tried, retry_at=now if at_once else later), Disposition.HOLD, (row.reason, row.hint))
    return replace(decision, refresh=row.once_more)


def _repair(tried: UsageRecord, row: Row, now: datetime, policy: Policy) -> Decision:
    """Return a newly sealed request, where a repair can help that was not made before; else a person must look."""
    repair = next((one for one in row.repairs if repairs(tried, one)), None)
    if repair is None:
        return _decision(tried, Disposition.REJECT, (row.reason, row.hint))
    mended = replace(repaired(tried, repair, policy.workload), retry_at=now)
    return Decision(record=mended, disposition=Disposition.REPAIR, reason=row.reason, hint=row.hint, repair=repair)
