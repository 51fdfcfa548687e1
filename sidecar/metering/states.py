"""List the states of a usage record and every move between them, as data.

Invariants:
- A move that no row of TRANSITIONS allows raises IllegalTransition.
- SETTLED and ROLLED_FORWARD are final.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """How far a usage record is."""

    OPEN = "open"
    """Its hour still takes usage."""
    SEALED = "sealed"
    """Its request is frozen; AWS has not accepted or refused it for good."""
    SETTLED = "settled"
    """AWS gave a metering record id."""
    DISPUTED = "disputed"
    """AWS holds another quantity for the hour; a person decides."""
    EXPIRED = "expired"
    """Too late for AWS, and certainly not billed; goes into the next open hour."""
    REJECTED = "rejected"
    """A person must act."""
    ROLLED_FORWARD = "rolled_forward"
    """Counted in a later hour."""


class Disposition(Enum):
    """What AWS's answer means for a record."""

    SETTLE = "settle"
    HOLD = "hold"
    """Again later, the same request."""
    DISPUTE = "dispute"
    EXPIRE = "expire"
    REJECT = "reject"
    REPAIR = "repair"
    """Again as a newly sealed request: same hour, same quantity, another token."""


class Action(Enum):
    """What the sidecar, or a person, does with a record."""

    SEAL = "seal"
    ROLL_FORWARD = "roll_forward"
    RETRY = "retry"
    CONFIRM = "confirm"
    """A person has AWS's receipt for it."""
    ACCEPT_AWS = "accept_aws"
    """A person found that the quantity AWS holds for the hour is right."""


TRANSITIONS: Final[Mapping[tuple[State, Disposition | Action], State]] = {
    (State.OPEN, Action.SEAL): State.SEALED,
    (State.SEALED, Disposition.SETTLE): State.SETTLED,
    (State.SEALED, Disposition.HOLD): State.SEALED,
    (State.SEALED, Disposition.REPAIR): State.SEALED,
    (State.SEALED, Disposition.DISPUTE): State.DISPUTED,
    (State.SEALED, Disposition.EXPIRE): State.EXPIRED,
    (State.SEALED, Disposition.REJECT): State.REJECTED,
    (State.EXPIRED, Action.ROLL_FORWARD): State.ROLLED_FORWARD,
    (State.DISPUTED, Action.ROLL_FORWARD): State.ROLLED_FORWARD,
    (State.DISPUTED, Action.RETRY): State.SEALED,
    (State.DISPUTED, Action.CONFIRM): State.SETTLED,
    (State.DISPUTED, Action.ACCEPT_AWS): State.SETTLED,
    (State.REJECTED, Action.ROLL_FORWARD): State.ROLLED_FORWARD,
    (State.REJECTED, Action.RETRY): State.SEALED,
    (State.REJECTED, Action.CONFIRM): State.SETTLED,
    (State.REJECTED, Action.ACCEPT_AWS): State.SETTLED,
}
"""(state, move) → next state. What is absent is illegal."""


class IllegalTransition(ValueError):
    """A record was to be moved as no rule allows."""


def next_state(state: State, move: Disposition | Action) -> State:
    """Return the state after a move. Raises IllegalTransition."""
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise IllegalTransition(f"a record that is {state.value} cannot {move.value}.") from None
