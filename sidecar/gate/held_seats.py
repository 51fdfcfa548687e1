"""Hold what this process knows of its seats: token, expiration, state, and the checkout that may follow.

Invariants:
- The rules are `entitlement.seat_schedule`'s; here is what changes, and nothing is asked or logged.
- A checkout whose outcome is unknown keeps its client token, for as long as AWS can be expected to remember it.
- Nothing shown of a seat has its token.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from sidecar.clock import iso
from sidecar.entitlement import seat_schedule as schedule
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.seat_schedule import SeatFault, SeatState
from sidecar.entitlement.seats import HeldSeat
from sidecar.gate.contract_messages import OPEN_FOR
from sidecar.gate.license_messages import SeatResult
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings import Take

BEFORE_ANY: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class Seat:
    """One seat, and where it stands."""

    held: HeldSeat
    state: SeatState
    client_token: str = field(repr=False)
    client_token_at: datetime

    def as_json(self) -> Mapping[str, object]:
        """Return what `GET /v1/status` shows of it."""
        fault = self.state.fault
        return {
            "name": self.held.name,
            "unit": self.held.unit,
            "value": self.held.value,
            "expires_at": iso(self.state.expires_at),
            "extended_at": iso(self.held.taken_at),
            "lost_at": iso(self.state.lost_at) if self.state.lost_at else None,
            "ask_at": iso(self.state.ask_at) if self.state.ask_at else None,
            "fault": {"reason": fault.reason, "hint": fault.hint} if fault else None,
        }


class HeldSeats:
    """The seats of this workload."""

    def __init__(self, chance: Callable[[], float], reask_seconds: int) -> None:
        """`chance`: uniform in [0, 1). `reask_seconds`: the pause after a denial; 0: none is asked for by itself."""
        self._chance, self._reask_seconds = chance, reask_seconds
        self.all: Sequence[Seat] = ()

    def take_over(self, held: Iterable[HeldSeat], now: datetime) -> bool:
        """Take the seats that a check has checked out or extended, where they are newer. Returns whether one is."""
        known, newer = {one.held.key: one for one in self.all}, False
        for seat in held:
            before = known.get(seat.key)
            if before is None or seat.taken_at > before.held.taken_at:
                known[seat.key], newer = self._held(seat, now), True
        self.all = tuple(known.values()) if newer else self.all
        return newer

    def miss(self, granted: Iterable[Mapping[str, str]], fault: SeatFault, now: datetime) -> None:
        """Take seats of which only the licenses are known. They are lost unless AWS gives them now.

        Where their file has one, that is newer than these, and is extended.
        """
        found = []
        for one in granted:
            if one["take"] == Take.SEAT.value:
                seat = HeldSeat(
                    name=one["name"],
                    unit=one["unit"],
                    value=one["value"],
                    consumption_token="",
                    expires_at=now,
                    region="",
                    license_arn=one["license_arn"],
                    taken_at=BEFORE_ANY,
                )
                state = SeatState(expires_at=now, ask_at=now, fault=fault)
                found.append(Seat(held=seat, state=state, client_token=_client_token(), client_token_at=now))
        self.all = tuple(found)

    def due(self, now: datetime) -> list[Seat]:
        """Return the seats that AWS is to be asked about now."""
        for one in self.all:
            one.state = schedule.passed(one.state, now)
            if now - one.client_token_at > OPEN_FOR:
                one.client_token, one.client_token_at = _client_token(), now
        return [one for one in self.all if schedule.due(one.state, now)]

    def next_at(self) -> datetime | None:
        """Return when something is to be done next; None: nothing by itself."""
        return schedule.next_at([one.state for one in self.all])

    def ask_now(self, now: datetime) -> None:
        """Have AWS asked about each of them now."""
        for one in self.all:
            one.state = schedule.at_once(one.state, now)

    @property
    def lost(self) -> list[Seat]:
        """Return the seats that are lost."""
        return [one for one in self.all if one.state.lost]

    def apply(self, seat: Seat, result: SeatResult, now: datetime) -> None:
        """Take what AWS answered about one seat."""
        fault = result.fault
        if result.seat is not None and fault is None:
            fresh = self._held(result.seat, now)
            seat.held, seat.state, seat.client_token = fresh.held, fresh.state, fresh.client_token
            return
        if result.over:
            seat.held = replace(seat.held, consumption_token="")
        if not result.unknown:
            seat.client_token, seat.client_token_at = _client_token(), now
        self.fail(seat, fault or NO_ANSWER, now)

    def fail(self, seat: Seat, fault: SeatFault, now: datetime) -> None:
        """Take that AWS gave no seat."""
        seat.state = schedule.failed(seat.state, fault, now, self._chance(), self._reask_seconds)

    def _held(self, seat: HeldSeat, now: datetime) -> Seat:
        state = schedule.held(seat.expires_at, now, self._chance())
        return Seat(held=seat, state=state, client_token=_client_token(), client_token_at=now)


NO_ANSWER: Final = SeatFault(
    answer=AnswerClass.RETRY,
    reason="child_failed",
    hint="The process that asks AWS gave no answer. It is asked again; see `child.failed` in the log.",
)


def _client_token() -> str:
    """Return a token for one checkout, made here so that it is known whatever becomes of the child."""
    return secrets.token_hex(16)
