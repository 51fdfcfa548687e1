"""Decide what becomes of a record once AWS has answered, or has not.

`dispositions` has what a code means, `marketplace` gets the answer, and the ledger stores the decision.

Invariants:
- Once one attempt was not definitely refused the record never counts as such again: a lost answer may have meant that
  AWS took the record.
- Too late: rolled forward where every attempt was definitely refused, else for a person (`outcome_unknown`), since
  billing it again could bill it twice.
- A repair only follows a definite refusal of the very request it replaces, each kind once; hour and quantity stay.
  Where the client token alone tells records apart, it follows definite refusals alone: no answer was lost before.
- What is drawn from a license and may have been drawn waits for a person at once: AWS documents no answer to a repeat.
- Disputed quantities are billed again only where a setting says so, also when they were sent again too late.

Sources: AWS Marketplace API Reference, MeterUsage (identical requests count once; six hours).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, assert_never

from sidecar.metering.disposition_row import Row
from sidecar.metering.dispositions import classify
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.records import UsageRecord, can_repair, drawn, repaired
from sidecar.metering.schedule import backoff, throttled_backoff, unsendable
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Disposition, next_state
from sidecar.quick_dataclasses import dataclass, replace

Why = tuple[str, str]
"""Reason and hint."""

SETTLED: Final[Why] = ("settled", "AWS gave a metering record id.")
LATE: Final[Why] = (
    "too_late",
    "AWS takes usage up to 6 hours old. This hour was certainly not billed; it is counted in the open hour.",
)
OUTCOME_UNKNOWN: Final[Why] = (
    "outcome_unknown",
    "The hour is too old to be sent again, and AWS may have billed it: an answer was lost, or it holds another"
    " quantity. Compare with the bill, then decide with `entitlement-sidecar usage retry`.",
)
PERHAPS_DRAWN: Final[Why] = (
    "outcome_unknown",
    "License Manager may have drawn this quantity: its answer was lost. Look in CloudTrail for CheckoutLicense with the"
    " client token of `usage export`, then decide with `entitlement-sidecar usage retry`.",
)

THROTTLED: Final = frozenset({"throttled", "license_throttled"})
"""Reasons in `dispositions`: the call was above the account's quota."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What the operator chose, and for whom."""

    workload: str
    roll_forward_disputed: bool = False
    """`SIDECAR_ON_DISPUTE=roll_forward`."""
    repairs: frozenset[Repair] = frozenset(Repair)
    """The repairs that may be made: without INTEGER_FIELD under `SIDECAR_QUANTITY_FIELD=decimal`."""
    alone: bool = False
    """No other workload shares the quota: this one spaces its calls by itself."""
    by_token: bool = False
    """AWS tells records apart by their client token alone (AgentCore Runtime), so that another token bills again."""
    classify: Callable[[str, str], Row] = classify
    """The table of the operation that was called: code and message → row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Everything that follows from an outcome, to be stored in one transaction and then logged."""

    record: UsageRecord
    """In its next state; its request is newly sealed where `disposition` is REPAIR."""
    disposition: Disposition
    code: str
    """What the audit trail says came of it: `settled`, or AWS's code."""
    reason: str
    hint: str
    loud: bool = False
    """A person must act, although the record is sent again."""
    roll_forward: bool = False
    """Count the quantity in the open hour, then move the record on with `Action.ROLL_FORWARD`."""


def decide(record: UsageRecord, outcome: Outcome, now: datetime, policy: Policy, chance: float) -> Decision:
    """Return what an outcome of `record.request` means; `chance` in [0, 1) spreads the next attempt.

    Raises IllegalTransition unless the record is sealed.
    """
    tried = replace(record, attempts=record.attempts + 1, retry_at=None)
    if isinstance(outcome, Settled):
        settled = replace(tried, record_id=outcome.record_id, last_error=None)
        return _decision(settled, Disposition.SETTLE, SETTLED)
    if isinstance(outcome, Unknown):
        row, definite, floor = policy.classify(outcome.code, ""), False, None
    elif isinstance(outcome, Refused):
        row = policy.classify(outcome.code, outcome.message)
        definite, floor = row.definite or not outcome.sent, outcome.retry_after_seconds
    else:
        assert_never(outcome)
    tried = replace(tried, last_error=outcome.code, definite=record.definite and definite)
    if drawn(record) and not definite:
        return replace(_unknown(tried, PERHAPS_DRAWN), code=outcome.code)
    if row.reason in THROTTLED and not policy.alone:
        later = now + throttled_backoff(record.hour, now, chance, floor)
    else:
        later = now + backoff(tried.attempts, chance, row.slow, floor)
    return replace(_unsettled(record, tried, row, now, later, policy), code=outcome.code, loud=row.loud)


def decide_if_late(record: UsageRecord, now: datetime) -> Decision | None:
    """Return what becomes of a record that is not sent any more (`schedule.unsendable`); None while it is."""
    if not unsendable(record, now):
        return None
    return _unknown(record, PERHAPS_DRAWN) if drawn(record) else expired(record, LATE)


def why_it_waits(record: UsageRecord) -> Why:
    """Return why a record waits for AWS or for a person, by its last error."""
    if record.last_error == OUTCOME_UNKNOWN[0]:
        return PERHAPS_DRAWN if drawn(record) else OUTCOME_UNKNOWN
    row = classify(record.last_error or "")
    return row.reason, row.hint


def _unsettled(
    record: UsageRecord, tried: UsageRecord, row: Row, now: datetime, later: datetime, policy: Policy
) -> Decision:
    """Return what an error means, from the record as it was before the attempt and as it is after."""
    why = (row.reason, row.hint)
    if row.disposition is Disposition.EXPIRE:
        return expired(tried, why)
    if row.disposition is Disposition.DISPUTE:
        held = replace(tried, definite=False)  # something is billed for the hour: sent again too late, it waits still
        return _decision(held, Disposition.DISPUTE, why, roll=policy.roll_forward_disputed)
    if row.disposition is Disposition.HOLD:
        # fresh credentials may help, unless they were tried just now
        at_once = row.once_more and policy.classify(record.last_error or "", "") is not row
        return _decision(replace(tried, retry_at=now if at_once else later), Disposition.HOLD, why)
    if row.disposition is Disposition.REPAIR:
        repair = next((one for one in row.repairs if _may_repair(tried, one, policy)), None)
        if repair is None:
            return _decision(tried, Disposition.REJECT, why)
        mended = replace(repaired(tried, repair, policy.workload), retry_at=now)
        return _decision(mended, Disposition.REPAIR, why)
    return _decision(tried, row.disposition, why)


def _may_repair(tried: UsageRecord, repair: Repair, policy: Policy) -> bool:
    """Return whether this repair may be made: it seals another client token, which must not bill a second time."""
    if policy.by_token and (repair is Repair.NEW_TOKEN or not tried.definite):
        return False
    return repair in policy.repairs and can_repair(tried, repair)


def expired(record: UsageRecord, why: Why) -> Decision:
    """Return a roll forward where AWS has certainly not billed the record; else a person must look."""
    if record.definite:
        return _decision(replace(record, retry_at=None), Disposition.EXPIRE, why, roll=True)
    return _unknown(record, OUTCOME_UNKNOWN)


def _unknown(record: UsageRecord, why: Why) -> Decision:
    """Return a record that AWS may have billed or not: a person must look."""
    unknown = replace(record, retry_at=None, last_error=OUTCOME_UNKNOWN[0], definite=False)
    return _decision(unknown, Disposition.REJECT, why)


def _decision(record: UsageRecord, disposition: Disposition, why: Why, roll: bool = False) -> Decision:
    moved = replace(record, state=next_state(record.state, disposition))
    reason, hint = why
    return Decision(record=moved, disposition=disposition, code=reason, reason=reason, hint=hint, roll_forward=roll)
