"""Decide what an answer of BatchMeterUsage means for a customer's record.

The rules are `metering.decide`'s, with the table of this operation and its lateness.

Invariants:
- Nothing is rolled forward for a customer that takes no more usage: no later hour would bill it. A person decides.

Sources: AWS Marketplace API Reference, BatchMeterUsage (24 hours; the month before until day 1, 06:00 UTC).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidecar.metering import decide as metering
from sidecar.metering.batch_dispositions import classify
from sidecar.metering.decide import Decision, Policy, Why
from sidecar.metering.outcomes import Outcome
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Disposition, next_state
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.saas.records import CustomerDecision, CustomerRecord, too_late

LATE: Final[Why] = (
    "too_late",
    "AWS takes usage up to 24 hours old, of the month before until 06:00 UTC of the first day. This hour was certainly"
    " not billed; it is counted in the open hour.",
)
CLOSED: Final[Why] = (
    "customer_closed",
    "The hour is too old for AWS and was certainly not billed, and the customer's subscription has ended: no later hour"
    " can bill it. Settle it with the customer outside AWS Marketplace, then confirm it.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What the seller chose, and the customer's state."""

    roll_forward_disputed: bool = False
    repairs: frozenset[Repair] = frozenset(Repair)
    """The repairs that may be made: without INTEGER_FIELD under `SIDECAR_QUANTITY_FIELD=decimal`."""
    closed: bool = False
    """No usage is taken of this customer any more."""


def decide(record: CustomerRecord, outcome: Outcome, now: datetime, rules: Rules, chance: float) -> CustomerDecision:
    """Return what an outcome means; `chance` in [0, 1) spreads the next attempt. Raises IllegalTransition."""
    policy = Policy(
        workload=record.customer.text,
        roll_forward_disputed=rules.roll_forward_disputed,
        repairs=rules.repairs,
        classify=classify,
        alone=True,
    )
    decision = metering.decide(record.usage, outcome, now, policy, chance)
    return CustomerDecision(record, _for_customer(record, decision, rules))


def decide_if_late(record: CustomerRecord, now: datetime, rules: Rules) -> CustomerDecision | None:
    """Return what becomes of a record that is too late to be sent; None while it is not."""
    if not too_late(record.usage.hour, now):
        return None
    return CustomerDecision(record, _for_customer(record, metering.expired(record.usage, LATE), rules))


def _for_customer(record: CustomerRecord, decision: Decision, rules: Rules) -> Decision:
    """Return the decision, but for a closed customer a person's instead of a roll forward."""
    if not decision.roll_forward or not rules.closed:
        return decision
    if decision.disposition is Disposition.DISPUTE:
        return replace(decision, roll_forward=False)  # it waits for a person as it is
    reason, hint = CLOSED
    usage = replace(
        decision.record, state=next_state(record.usage.state, Disposition.REJECT), retry_at=None, last_error=reason
    )
    return replace(decision, record=usage, disposition=Disposition.REJECT, reason=reason, hint=hint, roll_forward=False)
