"""Extend a seat, or check out another in its place. Runs in the child.

Invariants:
- A seat whose token AWS still knows is extended: no second one is taken. Only where AWS says that it is over, or where
  it has no token, one new checkout follows.
- A checkout has a ClientToken of its own; where its outcome is unknown, the caller repeats it with the same one.
- Where AWS calls the credentials expired, they are fetched again and the call is made once more.
- AWS says "nothing allowed" also in the moment in which another copy gives its seat back: it is asked once more.

Sources: AWS License Manager API Reference, ExtendLicenseConsumption and CheckoutLicense.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from sidecar.entitlement.answer import AnsweredBy, ErrorRow
from sidecar.entitlement.contract import NOTHING_ALLOWED, CheckedOut, asked, refusal
from sidecar.entitlement.seats import ASSUMED_LIFE, HeldSeat
from sidecar.gate.checkout_license import AGAIN_SECONDS, GONE
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.license_manager import (
    CheckedIn,
    Checkout,
    Extended,
    check_in,
    checkout,
    extend,
)
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.settings import License, Take

AGAIN: Final = "again"
"""Ends the client token of that second checkout: another than the first's, and the same when both are repeated."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """The seat is held."""

    seat: HeldSeat
    taken_again: bool
    """Whether it is another one, checked out in place of the old."""
    request_id: str


@dataclass(frozen=True, kw_only=True)
class NotRenewed:
    """No seat: neither extended nor checked out."""

    row: ErrorRow
    code: str
    reply: CallFailed | None
    over: bool
    """Whether AWS knows the old token no more."""


@dataclass(kw_only=True)
class SeatCalls:
    """The calls about seats of one product."""

    marketplace: Marketplace
    sku: str
    now: Callable[[], datetime]
    """The marketplace's time."""
    host_now: Callable[[], datetime]
    """This host's own."""
    pause: Callable[[float], None] = time.sleep

    def renew(self, seat: HeldSeat, client_token: str) -> Renewed | NotRenewed:
        """Extend a seat, or check out another. `client_token`: of that checkout. Raises nothing of the SDK's."""
        if seat.consumption_token:
            found = self._fresh(lambda: extend(self.marketplace, seat.consumption_token, seat.region, self.host_now()))
            if isinstance(found, Extended):
                return Renewed(seat=self._extended(seat, found), taken_again=False, request_id=found.request_id)
            if not (found.asked is AnsweredBy.EXTEND_LICENSE and found.row.reason in GONE):
                return NotRenewed(row=found.row, code=found.code, reply=found, over=False)
        first = self._check_out(seat, client_token)
        if isinstance(first, NotRenewed) and first.row.reason == NOTHING_ALLOWED:
            self.pause(sum(AGAIN_SECONDS) / 2)
            return self._check_out(seat, client_token + AGAIN)
        return first

    def check_in(self, seat: HeldSeat) -> CheckedIn | CallFailed:
        """Give a seat back. Raises nothing of the SDK's."""
        return self._fresh(lambda: check_in(self.marketplace, seat.consumption_token, seat.region, self.host_now()))

    def _check_out(self, seat: HeldSeat, client_token: str) -> Renewed | NotRenewed:
        license = License(name=seat.name, unit=seat.unit, value=seat.value, take=Take.SEAT)
        wanted = Checkout(sku=self.sku, entitlement=asked(license), client_token=client_token, region=seat.region)
        found = self._fresh(lambda: checkout(self.marketplace, wanted, self.host_now()))
        if isinstance(found, CallFailed):
            return NotRenewed(row=found.row, code=found.code, reply=found, over=True)
        row = refusal(license, found)
        if row is None:
            again = HeldSeat.of(license, found, self.now())
            return Renewed(seat=again, taken_again=True, request_id=found.request_id)
        self._give_back(seat, found)
        return NotRenewed(row=row, code=row.codes[0], reply=None, over=True)

    def _give_back(self, seat: HeldSeat, found: CheckedOut) -> None:
        """Check in what AWS allowed beyond the request; it would be taken for an hour."""
        if found.consumption_token:
            self.check_in(replace(seat, consumption_token=found.consumption_token, region=found.region))

    def _extended(self, seat: HeldSeat, found: Extended) -> HeldSeat:
        now = self.now()
        return replace(
            seat,
            consumption_token=found.consumption_token,
            expires_at=found.expires_at or now + ASSUMED_LIFE,
            taken_at=now,
        )

    def _fresh(self, call: Callable[[], Answer | CallFailed]) -> Answer | CallFailed:
        found = call()
        if isinstance(found, CallFailed) and found.row.once_more:
            self.marketplace.refresh()
            found = call()
        return found
