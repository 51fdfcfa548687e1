"""Define the values that the resident process and its child exchange about the pod: condition, events, results."""

from __future__ import annotations

from enum import Enum

from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the pod's condition is to say."""

    status: bool
    reason: str
    """CamelCase."""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class PodEvent:
    """Something that happened to this pod."""

    reason: str
    """CamelCase."""
    note: str
    warning: bool = False
    key: str = ""
    """Tells events of one reason apart; those with the same are one event with a count."""


class WriteOutcome(Enum):
    """What came of telling one thing."""

    DONE = "done"
    REFUSED = "refused"
    """The API server says no: `code`, `reason`, and what was wanted."""
    UNREACHABLE = "unreachable"
    """It does not answer, or is busy."""


@dataclass(frozen=True, kw_only=True)
class WriteResult:
    """The outcome of one thing."""

    outcome: WriteOutcome
    code: int = 0
    reason: str = ""
    verb: str = ""
    resource: str = ""
