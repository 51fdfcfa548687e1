"""Define the messages between the worker and the child that keeps seats and reads the contract's end: values, as JSON.

Invariants:
- The child writes one line for each seat as soon as AWS has answered about it, in the request's order.
- A consumption token is in no `repr`; no line or field of it is logged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.seat_schedule import SeatFault
from sidecar.entitlement.seats import HeldSeat
from sidecar.quick_dataclasses import dataclass, field, replace

JOB: Final = "license"
"""The job's name in `child.main.JOBS`."""
RENEW: Final = "renew"
CHECK_IN: Final = "check_in"
TERM: Final = "term"
"""What the child does."""
TEXT_MAX: Final = 2048


@dataclass(frozen=True, kw_only=True)
class LicenseRequest:
    """Everything a child needs to call License Manager, beside its environment."""

    action: str
    """RENEW, CHECK_IN or TERM."""
    sku: str
    workload: str
    region: str
    state_dir: str
    endpoint_url: str | None
    clock_url: str | None
    seats: tuple[HeldSeat, ...] = field(default=(), repr=False)
    """As this process knows them; what the state directory has of them is newer."""
    client_tokens: tuple[str, ...] = field(default=(), repr=False)
    """One for each seat: of the checkout that may follow."""
    license_arn: str = ""

    def about(self, seats: Iterable[HeldSeat], client_tokens: tuple[str, ...]) -> Self:
        """Return the request for these seats."""
        return replace(self, seats=tuple(seats), client_tokens=client_tokens)

    def as_json(self) -> str:
        fields = {name: value for name, value in self.__dict__.items() if name != "seats"}
        return json.dumps({"job": JOB, **fields, "seats": [one.as_json() for one in self.seats]})

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the request that a child was given."""
        seats = tuple(HeldSeat.from_json(one) for one in payload["seats"])
        return cls(**{**payload, "seats": seats, "client_tokens": tuple(payload["client_tokens"])})


@dataclass(frozen=True, kw_only=True)
class SeatResult:
    """What came of one seat."""

    seat: HeldSeat | None = field(default=None, repr=False)
    """None where none is held now, or none was extended."""
    taken_again: bool = False
    over: bool = False
    """Whether AWS knows the old token no more."""
    unknown: bool = False
    """Whether AWS may have taken the checkout: it is repeated with the same client token."""
    answer: str = AnswerClass.ACCEPTED.value
    """An `AnswerClass` by value."""
    reason: str = ""
    hint: str = ""
    code: str = ""
    request_id: str = ""
    retry_after_seconds: float | None = None

    @property
    def fault(self) -> SeatFault | None:
        """Return why the call failed; None where it did not."""
        answer = AnswerClass(self.answer)
        if answer is AnswerClass.ACCEPTED:
            return None
        return SeatFault(
            answer=answer,
            reason=self.reason,
            hint=self.hint,
            code=self.code,
            retry_after_seconds=self.retry_after_seconds,
        )

    def as_json(self) -> str:
        return json.dumps({**self.__dict__, "seat": self.seat.as_json() if self.seat else None})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a result. Raises ValueError."""
        try:
            said: dict[str, Any] = json.loads(text)
            seat = HeldSeat.from_json(said.pop("seat")) if said["seat"] else said.pop("seat")
            AnswerClass(said["answer"])
            cut: dict[str, Any] = {
                name: value[:TEXT_MAX] if isinstance(value, str) else value for name, value in said.items()
            }
            return cls(seat=seat, **cut)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as exc:
            raise ValueError("not a seat's result") from exc


@dataclass(frozen=True, kw_only=True)
class TermResult:
    """What GetLicense says of the contract's end."""

    ends_at: str = ""
    """RFC 3339; empty: it has none that can be read."""
    status: str = ""
    answer: str = AnswerClass.ACCEPTED.value
    reason: str = ""
    hint: str = ""
    code: str = ""

    def as_json(self) -> str:
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a result. Raises ValueError."""
        try:
            found = cls(**json.loads(text))
            AnswerClass(found.answer)
            if not all(isinstance(one, str) for one in found.__dict__.values()):
                raise ValueError("a field is no text")
        except (TypeError, RecursionError) as exc:
            raise ValueError("not a term") from exc
        return found
