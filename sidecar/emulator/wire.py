"""Define requests and replies before they are HTTP: the values between `app` and the services.

Left to others: sockets (`transport`), the protocols (`metering_api`, `sts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.faults import Fault
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.state import EmulatorState


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A request to `POST /`."""

    headers: Mapping[str, str]
    """Names are lower-case."""
    body: bytes
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a call is judged by: the current behaviour and instants, changed by its fault if it has one."""

    behaviour: Behaviour
    now: datetime
    """By the emulated clock: hours, windows, records, tokens."""
    real_now: datetime
    """By the real one: what a client signs, and when its credentials expire."""
    fault: Fault | None = None

    def has(self, kind: str) -> bool:
        """Return whether the call's fault is of this kind."""
        return self.fault is not None and self.fault.kind == kind


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """An AWS service: one protocol, some operations."""

    def operation(self, incoming: Incoming) -> str:
        """Return the operation asked for. Raises Refusal for an unknown one."""

    def workload(self, emulated: EmulatorState, incoming: Incoming) -> str | None:
        """Return the access key that signed, unverified; None where the request names none."""

    def perform(self, emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions) -> Reply:
        """Do the work. Raises Refusal."""

    def refuse(self, refused: Refusal, incoming: Incoming) -> Reply:
        """Return an error in this service's form."""


def ordered_error(emulated: EmulatorState, operation: str, conditions: Conditions) -> None:
    """Raise the AWS error queued for this call, unless its fault is another one already."""
    if conditions.has("expired_token"):
        raise refusal("ExpiredTokenException")
    if conditions.fault is None:
        fault = emulated.faults.take(operation, errors=True)
        if fault is not None:
            raise fault.as_refusal()


def retry_after_header(refused: Refusal) -> dict[str, str]:
    """`x-amz-retry-after`, where the error has it."""
    return {} if refused.retry_after is None else {"x-amz-retry-after": str(refused.retry_after)}
