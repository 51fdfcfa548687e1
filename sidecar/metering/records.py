"""Define usage records, and the moves of one that need no answer from AWS.

`states` has the moves that are allowed, `decide` those that an answer brings about.

Invariants:
- Hour, dimension and quantity of a record never change, also where AWS's quantity was accepted: that stands beside it.
- A repair is made at most once for a record; each request of a record has another client token.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.metering.hours import Hour
from sidecar.metering.sealed_request import Repair, SealedRequest, client_token
from sidecar.metering.states import Action, Disposition, IllegalTransition, State, next_state
from sidecar.quick_dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageRecord:
    """What one hour owes for one dimension, and how far that is."""

    hour: Hour
    dimension: str
    state: State
    quantity: Decimal
    request: SealedRequest | None = None
    """None while the hour is open."""
    attempts: int = 0
    retry_at: datetime | None = None
    """When it is sent next; None where a person must have it sent."""
    last_error: str | None = None
    definite: bool = True
    """Every attempt so far was definitely refused (or there was none): AWS has not billed it."""
    interrupted: bool = False
    """Its request left, or was about to, and the outcome was never kept."""
    record_id: str | None = None
    rolled_to: Hour | None = None
    repairs: tuple[Repair, ...] = ()
    """Made so far, in order; their count numbers the request in force."""
    aws_quantity: Decimal | None = None
    """What AWS billed for the hour, where a person accepted that instead of `quantity`."""


METER_USAGE: Final = "meter_usage"
DRAWDOWN: Final = "drawdown"
KINDS: Final = (METER_USAGE, DRAWDOWN)


def drawn(record: UsageRecord) -> bool:
    """Return whether a record is drawn from a license."""
    return record.request is not None and record.request.drawdown is not None


def kind(record: UsageRecord) -> str | None:
    """Return how a record is billed, one of KINDS; None while its hour is open, since sealing decides it."""
    if record.request is None:
        return None
    return DRAWDOWN if drawn(record) else METER_USAGE


def rolled_forward(record: UsageRecord, into: Hour) -> UsageRecord:
    """Return the record once its quantity is counted in a later hour. Raises IllegalTransition."""
    return replace(record, state=next_state(record.state, Action.ROLL_FORWARD), rolled_to=into, retry_at=None)


def sent_again(record: UsageRecord, now: datetime) -> UsageRecord:
    """Return the record once a person wants its request sent again. Raises IllegalTransition."""
    return replace(record, state=next_state(record.state, Action.RETRY), retry_at=now)


def accepted_as_billed(record: UsageRecord, quantity: Decimal) -> UsageRecord:
    """Return the record once a person accepted the quantity that AWS billed. Raises IllegalTransition.

    AWS certainly holds nothing where it refused every attempt: there it has no quantity that could be accepted.
    """
    state = next_state(record.state, Action.ACCEPT_AWS)
    if record.definite:
        raise IllegalTransition(
            f"AWS refused every attempt of {record.dimension} in {record.hour}, and so billed nothing for it:"
            " there is no quantity to accept."
        )
    return replace(record, state=state, retry_at=None, last_error=None, aws_quantity=quantity)


def can_repair(record: UsageRecord, repair: Repair) -> bool:
    """Return whether this repair would change the record's request, and was not made before."""
    return record.request is not None and repair not in record.repairs and record.request.changed_by(repair)


def repaired(record: UsageRecord, repair: Repair, workload: str) -> UsageRecord:
    """Return the record with a newly sealed request: hour, timestamp and quantity stay, the token is another.

    Raises IllegalTransition where there is nothing to repair, or this repair was made before.
    """
    if record.request is None or not can_repair(record, repair):
        raise IllegalTransition(f"{repair.value} is no repair for {record.dimension} in {record.hour}.")
    made = (*record.repairs, repair)
    token = client_token(workload, record.request.product_code, record.dimension, record.hour, len(made))
    request = record.request.repaired(repair, token)
    return replace(record, state=next_state(record.state, Disposition.REPAIR), request=request, repairs=made)
