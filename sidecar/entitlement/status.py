"""Decide what the gate shows: the status machine, as a table.

Invariants:
- Fail closed: only an accepted answer, or a kept one that verifies again, opens the gate.
- Once open it stays open for the life of the workload: AWS documents that a task or pod that registered is not refused
  later, and that a customer who unsubscribes keeps what runs.
- A denial stands while AWS cannot be reached; a mistake in the configuration does not, since the next answer may well
  be a different one.
- Nothing here reads a clock or the network.

Sources: AWS Marketplace API Reference, RegisterUsage ("errors only on the initial call").
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, Self

from sidecar.entitlement.answer import AnswerClass
from sidecar.quick_dataclasses import dataclass, replace


class Status(Enum):
    """What `/entitled` says."""

    PENDING = "pending"
    ENTITLED = "entitled"
    DENIED = "denied"
    UNAVAILABLE = "unavailable"
    MISCONFIGURED = "misconfigured"


class Event(Enum):
    """What happened, as far as the gate cares."""

    ACCEPTED = "accepted"
    """AWS's answer verified, or a kept one verified again."""
    DENIED = "denied"
    CONFIG = "config"
    """A person must change something here."""
    RETRY = "retry"
    """A transient failure, within the start-up budget."""
    RETRY_LATE = "retry_late"
    """A transient failure after the start-up budget."""
    CONFIG_LATE = "config_late"
    """A failure that is a mistake in the configuration only because it outlasted the start-up budget."""


TRANSITIONS: Final[Mapping[tuple[Status, Event], Status]] = {
    (Status.PENDING, Event.ACCEPTED): Status.ENTITLED,
    (Status.PENDING, Event.DENIED): Status.DENIED,
    (Status.PENDING, Event.CONFIG): Status.MISCONFIGURED,
    (Status.PENDING, Event.RETRY): Status.PENDING,
    (Status.PENDING, Event.RETRY_LATE): Status.UNAVAILABLE,
    (Status.PENDING, Event.CONFIG_LATE): Status.MISCONFIGURED,
    (Status.UNAVAILABLE, Event.ACCEPTED): Status.ENTITLED,
    (Status.UNAVAILABLE, Event.DENIED): Status.DENIED,
    (Status.UNAVAILABLE, Event.CONFIG): Status.MISCONFIGURED,
    (Status.UNAVAILABLE, Event.RETRY): Status.UNAVAILABLE,
    (Status.UNAVAILABLE, Event.RETRY_LATE): Status.UNAVAILABLE,
    (Status.UNAVAILABLE, Event.CONFIG_LATE): Status.MISCONFIGURED,
    (Status.MISCONFIGURED, Event.ACCEPTED): Status.ENTITLED,
    (Status.MISCONFIGURED, Event.DENIED): Status.DENIED,
    (Status.MISCONFIGURED, Event.CONFIG): Status.MISCONFIGURED,
    (Status.MISCONFIGURED, Event.RETRY): Status.PENDING,
    (Status.MISCONFIGURED, Event.RETRY_LATE): Status.UNAVAILABLE,
    (Status.MISCONFIGURED, Event.CONFIG_LATE): Status.MISCONFIGURED,
    (Status.DENIED, Event.ACCEPTED): Status.ENTITLED,
    (Status.DENIED, Event.DENIED): Status.DENIED,
    (Status.DENIED, Event.CONFIG): Status.MISCONFIGURED,
    (Status.DENIED, Event.RETRY): Status.DENIED,
    (Status.DENIED, Event.RETRY_LATE): Status.DENIED,
    (Status.DENIED, Event.CONFIG_LATE): Status.DENIED,
    (Status.ENTITLED, Event.ACCEPTED): Status.ENTITLED,
    (Status.ENTITLED, Event.DENIED): Status.ENTITLED,
    (Status.ENTITLED, Event.CONFIG): Status.ENTITLED,
    (Status.ENTITLED, Event.RETRY): Status.ENTITLED,
    (Status.ENTITLED, Event.RETRY_LATE): Status.ENTITLED,
    (Status.ENTITLED, Event.CONFIG_LATE): Status.ENTITLED,
}
"""(status, event) → next status. Every pair has a row; docs/reference/statuses.md has the table."""


@dataclass(frozen=True, kw_only=True)
class GateState:
    """Where the gate stands, and why."""

    status: Status
    reason: str
    hint: str
    checked_at: datetime | None
    """When AWS last gave an answer, or failed to; None before the first."""
    asking_since: datetime
    """When this workload was first asked for."""

    @property
    def entitled(self) -> bool:
        return self.status is Status.ENTITLED

    def as_json(self) -> Mapping[str, object]:
        """Return it as plain values, for the next worker of this process."""
        return {
            "status": self.status.value,
            "reason": self.reason,
            "hint": self.hint,
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
            "asking_since": self.asking_since.isoformat(),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Return what an earlier worker left with `as_json`."""
        return cls(
            status=Status(found["status"]),
            reason=found["reason"],
            hint=found["hint"],
            checked_at=datetime.fromisoformat(found["checked_at"]) if found["checked_at"] else None,
            asking_since=datetime.fromisoformat(found["asking_since"]),
        )


def initial_state(now: datetime) -> GateState:
    """Before any answer."""
    return GateState(
        status=Status.PENDING,
        reason="asking",
        hint="AWS Marketplace is being asked for the first time.",
        checked_at=None,
        asking_since=now,
    )


def event_for(answer: AnswerClass, late: bool) -> Event:
    """Return what an answer means, before or after the start-up budget."""
    if answer is AnswerClass.RETRY:
        return Event.RETRY_LATE if late else Event.RETRY
    if answer is AnswerClass.RETRY_THEN_CONFIG:
        return Event.CONFIG_LATE if late else Event.RETRY
    return {AnswerClass.ACCEPTED: Event.ACCEPTED, AnswerClass.DENY: Event.DENIED, AnswerClass.CONFIG: Event.CONFIG}[
        answer
    ]


def next_state(state: GateState, answer: AnswerClass, reason: str, hint: str, now: datetime, late: bool) -> GateState:
    """Return the state once `answer` is known. A gate that is open keeps the reason it opened for.

    `late`: whether the start-up budget is spent, measured by the monotonic clock.
    """
    event = event_for(answer, late)
    status = TRANSITIONS[state.status, event]
    if status is state.status and _is_noise(status, event):
        return replace(state, checked_at=now)
    return replace(state, status=status, reason=reason, hint=hint, checked_at=now)


def _is_noise(status: Status, event: Event) -> bool:
    """Return whether the event does not explain the state."""
    if status is Status.ENTITLED:
        return event is not Event.ACCEPTED
    return status is Status.DENIED and event in (Event.RETRY, Event.RETRY_LATE, Event.CONFIG_LATE)
