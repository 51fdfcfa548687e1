"""Decide when a held seat is extended, when it is lost, and when a lost one is asked for again. Pure.

Invariants:
- A seat is extended about half way to the expiration that AWS gave; AWS may give any, so nothing counts on an hour.
- A failed extension is tried again with pauses that shrink towards the expiration: an outage that ends a few seconds
  before it costs nothing.
- A seat is lost when AWS refuses another one in its place, or when it expired and AWS could not be asked. One that
  expired by this host's clock alone is not: AWS is asked first, since the clock may have been set.
- A lost seat is asked for until AWS gives one; after a refusal with the operator's pause.

Sources: AWS License Manager API Reference, CheckoutLicense and ExtendLicenseConsumption (Expiration); AWS Marketplace
seller guide, "Integrating your container products with License Manager".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sidecar.backoff import ceiling_seconds
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.retry import retry_delay_seconds
from sidecar.quick_dataclasses import dataclass, replace

EXTENDED_AT: Final = 0.5
SPREAD: Final = 0.1
"""Of the life: extended at 40 to 50 % of it, so that pods that started together do not ask together."""
LIFE_MIN: Final = timedelta(minutes=1)
"""Assumed of a seat that AWS has just given and that has expired by this host's clock: the clock is wrong."""
RETRY_SECONDS: Final = 2.0
RETRY_SECONDS_MAX: Final = 120.0
LEFT: Final = 0.25
"""Of the life that is left: the longest pause after a failed extension."""


@dataclass(frozen=True, kw_only=True)
class SeatFault:
    """Why a seat could not be extended or checked out."""

    answer: AnswerClass
    reason: str
    hint: str
    code: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class SeatState:
    """Where a seat stands, and when AWS is asked about it next."""

    expires_at: datetime
    ask_at: datetime | None
    """None: not by itself, only when a person asks (SIDECAR_REASK_SECONDS=0)."""
    attempt: int = 0
    """Failures in a row, of one class once it is lost."""
    fault: SeatFault | None = None
    """Of the last attempt; None where that gave a seat."""
    lost_at: datetime | None = None

    @property
    def lost(self) -> bool:
        return self.lost_at is not None


def held(expires_at: datetime, now: datetime, chance: float) -> SeatState:
    """Return a seat that AWS has just given or extended. `chance` is uniform in [0, 1)."""
    ends = max(expires_at, now + LIFE_MIN)
    share = EXTENDED_AT - SPREAD * chance
    return SeatState(expires_at=ends, ask_at=now + share * (ends - now))


def failed(before: SeatState, fault: SeatFault, now: datetime, chance: float, reask_seconds: int) -> SeatState:
    """Return a seat after an attempt that gave none."""
    if before.lost or fault.answer is AnswerClass.DENY or now >= before.expires_at:
        return _lost(before, fault, now, chance, reask_seconds)
    left = (before.expires_at - now).total_seconds()
    delay = _pressing_seconds(left, before.attempt, chance, fault.retry_after_seconds or 0.0)
    return replace(before, ask_at=now + timedelta(seconds=delay), attempt=before.attempt + 1, fault=fault)


def passed(before: SeatState, now: datetime) -> SeatState:
    """Return a seat as time leaves it: lost, where it expired while AWS did not extend it."""
    if before.lost or before.fault is None or now < before.expires_at:
        return before
    return replace(before, lost_at=now, attempt=0, ask_at=now)


def at_once(before: SeatState, now: datetime) -> SeatState:
    """Return a seat that AWS is asked about now: a person wants that, or the clock jumped."""
    return replace(before, ask_at=now)


def due(state: SeatState, now: datetime) -> bool:
    """Return whether AWS is to be asked now."""
    return state.ask_at is not None and now >= state.ask_at


def next_at(states: Sequence[SeatState]) -> datetime | None:
    """Return when something is to be done next; None: nothing by itself."""
    instants = [one.ask_at for one in states]
    instants += [one.expires_at for one in states if one.fault is not None and not one.lost]
    return min((one for one in instants if one is not None), default=None)


def _lost(before: SeatState, fault: SeatFault, now: datetime, chance: float, reask_seconds: int) -> SeatState:
    same = before.lost and before.fault is not None and before.fault.answer is fault.answer
    attempt = before.attempt if same else 0
    delay = retry_delay_seconds(fault.answer, attempt, chance, reask_seconds, fault.retry_after_seconds)
    return SeatState(
        expires_at=before.expires_at,
        ask_at=None if delay is None else now + timedelta(seconds=delay),
        attempt=attempt + 1,
        fault=fault,
        lost_at=before.lost_at or now,
    )


def _pressing_seconds(left: float, attempt: int, chance: float, floor: float) -> float:
    """Return the pause before the next attempt to extend. `left`: seconds of life; `floor`: what AWS asked for."""
    longest = ceiling_seconds(attempt, first=RETRY_SECONDS, most=RETRY_SECONDS_MAX)
    longest = min(longest, max(left * LEFT, RETRY_SECONDS))
    return max(longest * (1 + chance) / 2, min(floor, left / 2))
