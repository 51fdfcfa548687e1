"""Check the entitlement by License Manager's CheckoutLicense, or by the kept pass. Runs in the child.

Invariants:
- A license of `take: check` is checked in at once, whatever follows: pods of one contract do not lock each other out.
- Seats are all or nothing: where a later license is refused, those that were taken are given back. One whose check-in
  fails is kept on disk: the next check extends it, and is not locked out by it.
- A workload that holds a seat already extends that one, after a restart and when a person asks again. While the gate is
  open it stays held whatever follows: what runs loses nothing by being asked about.
- Where AWS allows nothing, it is asked once more after a second or two, with new tokens: a seat may just come free. Of
  a group all are asked for once before.
- A refusal ends the kept pass: an outage that follows opens nothing on it.
- The seats are locked until their file is replaced, so that no other child extends a token that is used up.
- A check-in that fails ends nothing; the result says until when the seat is gone.
- Where AWS calls the credentials expired, they are fetched again and it is asked once more.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from sidecar.clock import Clock, iso
from sidecar.entitlement import classify, contract, kept_contract
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.contract import Answer, CheckedOut, Granted, Refused
from sidecar.entitlement.license_errors import INSTEAD
from sidecar.entitlement.registration import WorkloadId
from sidecar.entitlement.seats import HeldSeat, as_text, from_text
from sidecar.gate import seats_lock
from sidecar.gate.contract_messages import OpenCheckout, key
from sidecar.gate.messages import CheckRequest
from sidecar.gate.method import Allowed, NotAllowed
from sidecar.ledger import kept_file
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.license_manager import (
    CheckedIn,
    Checkout,
    Extended,
    check_in,
    checkout,
    extend,
    new_client_token,
)
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings import License, Take

AGAIN_SECONDS: Final = (1.0, 2.0)
"""Between the two questions where AWS allows nothing. Public clients of License Manager wait as long."""
GONE: Final = ("seat_expired", "license_request_refused", classify.UNKNOWN.reason)
"""Reasons for which a seat cannot be extended and is checked out again. What AWS answers after the end of a contract is
not documented; a checkout tells."""


@dataclass(kw_only=True)
class CheckoutLicenseCheck:
    """One checkout of each license that is needed."""

    request: CheckRequest
    workload: WorkloadId
    clock: Clock
    host_clock: Clock
    wait: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    _answers: dict[License, Answer] = field(default_factory=dict)
    _failures: dict[License, CallFailed] = field(default_factory=dict)
    _tokens: dict[License, str] = field(default_factory=dict)
    _held: dict[License, HeldSeat] = field(default_factory=dict)
    _arns: dict[License, str] = field(default_factory=dict)
    _own: set[License] = field(default_factory=set)
    """Of those, which were held before."""
    _not_returned: list[str] = field(default_factory=list)

    @property
    def answer_path(self) -> Path:
        return kept_file.contract_path(Path(self.request.state_dir), self.workload)

    @property
    def seats_path(self) -> Path:
        """Return where the seats are kept."""
        return kept_file.seats_path(Path(self.request.state_dir), self.workload)

    def ask(self, marketplace: Marketplace) -> Allowed | NotAllowed:
        with contextlib.ExitStack() as locked:
            if self._wants_seats() and (lock := seats_lock.take(self.seats_path)):
                locked.enter_context(lock)
            found = self._found(marketplace)
            return replace(found, when_kept=locked.pop_all().close) if isinstance(found, Allowed) else found

    def _found(self, marketplace: Marketplace) -> Allowed | NotAllowed:
        before, repeated = self._seats_before(), set[tuple[License, ...]]()
        while True:
            found = contract.verdict(self.request.licenses, self._answers)
            if isinstance(found, Granted):
                return self._allowed(found, self._unused(marketplace, before))
            if isinstance(found, Refused):
                if found.row.reason != contract.NOTHING_ALLOWED or found.group in repeated:
                    return self._refused(marketplace, found)
                repeated.add(found.group)
                self._forget(found.group)
            else:
                self._answers[found.license] = self._about(marketplace, found.license, before)

    def reopen(self, text: str) -> Allowed:
        kept = kept_contract.from_text(text)
        request, held = self.request, self._seats_before()
        kept_contract.verify_kept(kept, self.workload, request.product_sku, request.licenses, held, self.clock.now())
        facts = {"granted": kept.granted, "held": held}
        return Allowed(explanation=classify.KEPT_CONTRACT, asked=AnsweredBy.CHECKOUT_LICENSE, facts=facts)

    # -- one license -------------------------------------------------------------------------------

    def _about(self, marketplace: Marketplace, license: License, before: tuple[HeldSeat, ...]) -> Answer:
        """Return AWS's answer about a license; a check is over with it, a seat is held."""
        own = next((seat for seat in before if seat.is_of(license) and license not in self._failures), None)
        if license.take is Take.SEAT and own:
            extended = self._extended(marketplace, license, own)
            if extended is not None:
                return extended
        found = self._checked_out(marketplace, license)
        if isinstance(found, CallFailed):
            self._failures[license] = found
            return found.row
        self._settle(marketplace, license, found)
        return found

    def _extended(self, marketplace: Marketplace, license: License, seat: HeldSeat) -> Answer | None:
        """Return the answer of extending a seat that is held already; None where it is to be checked out again."""
        found = extend(marketplace, seat.consumption_token, seat.region, self.host_clock.now())
        if isinstance(found, Extended):
            out = CheckedOut(
                allowed=(contract.asked(license),),
                consumption_token=found.consumption_token,
                expires_at=found.expires_at,
                license_arn=seat.license_arn,
                region=seat.region,
                request_id=found.request_id,
            )
            self._hold(license, out)
            self._own.add(license)
            return out
        if found.row.reason in GONE:
            return None
        self._failures[license] = found
        return found.row

    def _checked_out(self, marketplace: Marketplace, license: License) -> CheckedOut | CallFailed:
        asked = Checkout(
            sku=self.request.product_sku, entitlement=contract.asked(license), client_token=self._token(license)
        )
        found = checkout(marketplace, asked, self.host_clock.now())
        if isinstance(found, CallFailed) and found.row.once_more:
            marketplace.refresh()
            found = checkout(marketplace, asked, self.host_clock.now())
        return found

    def _token(self, license: License) -> str:
        """Return the ClientToken of this checkout: an earlier child's, where its outcome is not known, or a new one."""
        earlier = self.request.open_checkout
        repeated = earlier.token_for(license, self.clock.now()) if earlier and license not in self._tokens else ""
        self._tokens[license] = repeated or new_client_token()
        return self._tokens[license]

    def _settle(self, marketplace: Marketplace, license: License, found: CheckedOut) -> None:
        """Hold a seat that was granted; check in whatever else was checked out."""
        if license.take is Take.SEAT and contract.refusal(license, found) is None:
            self._hold(license, found)
        elif found.consumption_token:
            self._give_back(marketplace, HeldSeat.of(license, found, self.clock.now()))
        self._arns[license] = found.license_arn

    def _hold(self, license: License, found: CheckedOut) -> None:
        self._held[license] = HeldSeat.of(license, found, self.clock.now())
        self._arns[license] = found.license_arn

    def _give_all_back(self, marketplace: Marketplace, seats: Iterable[HeldSeat]) -> list[HeldSeat]:
        """Give seats back. Returns those that AWS did not take.

        Where AWS is out of reach, no further one is tried: each would take its time.
        """
        left: list[HeldSeat] = []
        failure: CallFailed | None = None
        for seat in seats:
            if failure and failure.row.unreachable:
                self._not_returned.append(_not_returned(seat, failure.code))
            else:
                failure = self._give_back(marketplace, seat)
            left += [seat] if failure else []
        return left

    def _give_back(self, marketplace: Marketplace, seat: HeldSeat) -> CallFailed | None:
        """Check in. Returns the failure, where it fails."""
        found = check_in(marketplace, seat.consumption_token, seat.region, self.host_clock.now())
        if isinstance(found, CheckedIn):
            return None
        self._not_returned.append(_not_returned(seat, found.code))
        return found

    def _forget(self, group: tuple[License, ...]) -> None:
        """Let a group be asked for once more, in a second or two."""
        low, high = AGAIN_SECONDS
        self.wait(low + (high - low) * self.chance())
        for license in group:
            self._answers.pop(license, None)

    # -- the end of the check ----------------------------------------------------------------------

    def _unused(self, marketplace: Marketplace, before: tuple[HeldSeat, ...]) -> list[HeldSeat]:
        """Give back the seats of before that no license needs now, unless they are kept by what runs.

        Returns those that AWS did not take.
        """
        unused = [seat for seat in before if not any(seat.is_of(one) for one in self._held)]
        return [] if self.request.opened else self._give_all_back(marketplace, unused)

    def _allowed(self, found: Granted, left: list[HeldSeat]) -> Allowed:
        granted = tuple(
            {
                "name": one.name,
                "unit": one.unit,
                "value": one.value,
                "take": one.take.value,
                "license_arn": self._arns.get(one, ""),
            }
            for one in found.licenses
        )
        now, sku = self.clock.now(), self.request.product_sku
        seats = tuple(self._held[one] for one in found.licenses if one in self._held)
        last = self._answers[found.licenses[-1]]
        return Allowed(
            explanation=classify.LICENSES_ALLOWED,
            asked=AnsweredBy.CHECKOUT_LICENSE,
            request_id=last.request_id if isinstance(last, CheckedOut) else "",
            facts={"granted": granted, "held": seats, "not_returned": tuple(self._not_returned)},
            to_keep=kept_contract.passed(self.workload, sku, granted, now).as_text(),
            also_keep={self.seats_path: as_text((*seats, *left), self.workload, sku)} if seats or left else {},
        )

    def _refused(self, marketplace: Marketplace, found: Refused) -> NotAllowed:
        stays = self.request.opened or found.row.answer is not AnswerClass.DENY
        own = [seat for one, seat in self._held.items() if stays and one in self._own]
        left = self._give_all_back(marketplace, [seat for seat in self._held.values() if seat not in own])
        self._keep_seats((*own, *left))
        if found.row.answer is AnswerClass.DENY:
            with contextlib.suppress(OSError):
                kept_file.remove(self.answer_path)
        failure = self._failures.get(found.license)
        open_checkout = None
        if found.row.unreachable and found.license in self._tokens:
            token, now = self._tokens[found.license], iso(self.clock.now())
            open_checkout = OpenCheckout(license=key(found.license), client_token=token, asked_at=now)
        return NotAllowed(
            row=found.row,
            code=failure.code if failure else found.row.codes[0],
            hint=INSTEAD.get(found.row.reason, found.row.hint),
            reply=failure,
            license=" or ".join(contract.named(found.group)),
            facts={"open_checkout": open_checkout, "not_returned": tuple(self._not_returned)},
        )

    def _keep_seats(self, seats: tuple[HeldSeat, ...]) -> None:
        """Keep the seats that are held still after a check that is refused; those it did not come to stay as kept."""
        if self._held:
            others = tuple(seat for seat in self._seats_before() if not any(seat.is_of(one) for one in self._held))
            with contextlib.suppress(OSError):  # then the next extension finds its token used up, and checks out again
                kept_file.replace(self.seats_path, as_text((*seats, *others), self.workload, self.request.product_sku))

    def _wants_seats(self) -> bool:
        return any(one.take is Take.SEAT for one in self.request.licenses)

    def _seats_before(self) -> tuple[HeldSeat, ...]:
        """Return the seats that this workload kept before; none where they cannot be read."""
        try:
            text = kept_file.read(self.seats_path)
        except OSError:
            return ()
        return from_text(text, self.workload, self.request.product_sku)


def _not_returned(seat: HeldSeat, code: str) -> str:
    return f"{seat.name}: {code}; until {iso(seat.expires_at)}"
