"""Define requests and replies before they are HTTP: the values between `app` and the services.

Left to others: sockets (`transport`), the protocols (`metering_api`, `sts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sidecar.emulator import sigv4
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.faults import Fault
from sidecar.emulator.refusals import Refusal, access_denied, refusal
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


def signer(emulated: EmulatorState, incoming: Incoming) -> str | None:
    """Return the workload whose access key signed, unverified; None where the request names none."""
    access_key = sigv4.access_key(incoming.headers)
    return None if access_key is None else emulated.callers.workload(access_key, emulated.behaviour)


def admitted(
    emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions, *, signing_name: str
) -> tuple[Caller, str]:
    """Return who calls, and the region that was signed for, where nothing common to all operations refuses.

    The IAM action is `signing_name:operation`. Raises Refusal.
    """
    signed = sigv4.read(incoming.headers, conditions.real_now, signing_name)
    caller = emulated.callers.authenticate(signed, conditions.behaviour, conditions.real_now)
    if not caller.allowed:
        action = f"{signing_name}:{operation}"
        raise access_denied(account=caller.account, role=caller.role, workload=caller.workload, action=action)
    ordered_error(emulated, operation, conditions)
    return caller, signed.region


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
