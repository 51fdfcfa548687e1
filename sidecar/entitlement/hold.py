"""Decide what the gate shows while metering or a lost seat holds it shut, where a setting allows that.

`billing.gate_policy` decides when metering's hold begins and ends, `seat_schedule` when a seat is lost.

Invariants:
- A hold shows only on a gate that AWS opened; any other cause that keeps it shut is shown instead.
- Before its first opening a metered product waits until its usage can be stored (SIDECAR_ON_LEDGER_UNUSABLE).
- "Not entitled" to the first real record is a denial: where dry runs alone were asked before, it is the first answer
  about this customer. Overdue usage is not a denial: AWS gave no answer.

Sources: AWS Marketplace seller guide, "Configuring custom metering with MeterUsage" (not-subscribed errors come with
the first call only); "Custom metering for AMI products" (do not fail before two hours).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.seat_schedule import SeatFault
from sidecar.entitlement.status import GateState, Status
from sidecar.quick_dataclasses import replace


class Hold(Enum):
    """Why the gate is kept shut, though AWS opened it."""

    FIRST_METER_DENIED = "first_meter_denied"
    METERING_OVERDUE = "metering_overdue"
    LEDGER_UNUSABLE = "ledger_unusable"
    """Before the first opening: what the product would use cannot be counted yet."""
    SEAT_LOST = "seat_lost"
    """A seat of a contract is held no more (SIDECAR_ON_SEAT_LOST=shut)."""


ENDS: Final = "the sidecar ends now (SIDECAR_ON_DENIED=exit), and asks again when it is started again"
"""What follows a denial that ends the process."""

Shown = tuple[Status, str, str]
"""Status, reason, hint."""

OPENING: Final = (
    "ledger_opening",
    "The ledger of this workload's usage is being opened, and the gate opens then. If it lasts, look at the volume of"
    " SIDECAR_STATE_DIR.",
)
LOST: Final = (
    "seat_lost",
    "A seat of the contract ran out while License Manager could not be asked, or was refused. It is checked out again"
    " by itself, or at once with `entitlement-sidecar recheck`, and the gate opens then.",
)
FIRST_DENIED: Final = (
    "AWS answered the first usage record with: this account has no subscription to the product. Subscribe it in AWS"
    " Marketplace;"
)
FIRST_DENIED_AND_ENDS: Final[Shown] = (Status.DENIED, "customer_not_entitled", f"{FIRST_DENIED} {ENDS}.")
"""Instead of what SHOWN has, where a denial ends the process."""
SHOWN: Final[Mapping[Hold, Shown]] = {
    Hold.FIRST_METER_DENIED: (
        Status.DENIED,
        "customer_not_entitled",
        f"{FIRST_DENIED} the record is sent again by itself, or at once with `entitlement-sidecar recheck`, and the"
        " gate opens when AWS takes it.",
    ),
    Hold.METERING_OVERDUE: (
        Status.UNAVAILABLE,
        "metering_overdue",
        "No usage could be reported to AWS for longer than SIDECAR_METERING_OVERDUE_SECONDS allows. See"
        " `entitlement-sidecar usage` for what AWS answers; the gate opens again with the first record it takes. Where"
        " `GET /v1/status` says that the ledger fails, or its open hour is in the future, fix that; then it opens.",
    ),
    Hold.LEDGER_UNUSABLE: (Status.PENDING, *OPENING),
    Hold.SEAT_LOST: (Status.UNAVAILABLE, *LOST),
}
"""What each hold shows, unless its begin says it more exactly."""


SEAT_STATUS: Final[Mapping[AnswerClass, Status]] = {
    AnswerClass.DENY: Status.DENIED,
    AnswerClass.CONFIG: Status.MISCONFIGURED,
}
"""Class of the last answer about a lost seat → what the gate shows; any other leaves it open what AWS would say."""


RECHECK: Final = "`entitlement-sidecar recheck`"


def with_seat_again(hint: str) -> str:
    """Return the hint of a lost seat, and that it is checked out again, unless the hint says how to ask again."""
    return hint if RECHECK in hint else f"{hint} The seat is checked out again by itself, or at once with {RECHECK}."


def seat_lost(name: str, fault: SeatFault, *, shuts: bool, ends: bool) -> Shown:
    """Return what a lost seat shows.

    `name`: its license; `shuts`: whether the loss shuts the gate; `ends`: whether a denial ends the process.
    """
    status, reason, _ = SHOWN[Hold.SEAT_LOST]
    status = SEAT_STATUS.get(fault.answer, status)
    if ends and shuts and status is Status.DENIED:
        hint = f"{fault.hint} {ENDS[0].upper()}{ENDS[1:]}."
    else:
        gate = "opens then" if shuts else "stays open meanwhile (SIDECAR_ON_SEAT_LOST=hold)"
        hint = f"{with_seat_again(fault.hint)} The gate {gate}."
    return status, reason, f"The seat {name} is lost ({fault.reason}): {hint}"


def with_hold(state: GateState, hold: Hold | None, shown: Shown | None = None) -> GateState:
    """Return what the gate shows while metering holds it. `shown`: instead of what SHOWN has."""
    if hold is None or not state.entitled:
        return state
    status, reason, hint = shown or SHOWN[hold]
    return replace(state, status=status, reason=reason, hint=hint)
