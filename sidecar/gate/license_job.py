"""Extend seats, check them in, or read the contract's end. The child's job `license`.

Invariants:
- The seats' file is read and replaced under its lock (`seats_lock`): one token is never extended twice at once.
- What the file has of a seat is newer than what the worker knew.
- Each result is emitted before anything is written: a stuck disk does not delay it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sidecar.clock import Clock, SystemClock, iso
from sidecar.entitlement import classify as answers
from sidecar.entitlement.answer import ErrorRow
from sidecar.entitlement.contract import named
from sidecar.entitlement.seats import HeldSeat, as_text, from_text
from sidecar.gate.hint_facts import caller_of, hint_facts
from sidecar.gate.license_messages import CHECK_IN, TERM, LicenseRequest, SeatResult, TermResult
from sidecar.gate.messages import KeptStatus
from sidecar.gate.seat_calls import NotRenewed, SeatCalls
from sidecar.gate.seats_lock import take
from sidecar.ledger import kept_file
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import LICENSES, Marketplace
from sidecar.marketplace.license_manager import HOME, NOT_FOUND, CheckedIn, get_license
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.platform import ecs, eks
from sidecar.quick_dataclasses import dataclass
from sidecar.remote_clock import clock_for
from sidecar.settings import License, OnDenied, Take


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Do what is asked; emit a line for each seat and one of the file, or the contract's end."""
    request, env = LicenseRequest.from_payload(payload), dict(os.environ)
    sdk_environment.take(env, request.endpoint_url, in_platform=ecs.on_ecs(env) or eks.in_kubernetes(env))
    LicenseJob(request=request, env=env, clock=clock_for(request.clock_url), emit=emit).run()


@dataclass(kw_only=True)
class LicenseJob:
    """One task about the seats or the license."""

    request: LicenseRequest
    env: Mapping[str, str]
    """As the SDK sees it (`marketplace.sdk_environment`)."""
    clock: Clock
    """Tells the marketplace's time."""
    emit: Callable[[str], None]

    def __post_init__(self) -> None:
        request = self.request
        self._marketplace = Marketplace(
            region=request.region, endpoint_url=request.endpoint_url, env=self.env, service=LICENSES
        )
        self._host_now = SystemClock().now
        self._others: list[HeldSeat] = []
        self.calls = SeatCalls(
            marketplace=self._marketplace, sku=request.sku, now=self.clock.now, host_now=self._host_now
        )

    def run(self) -> None:
        if self.request.action == TERM:
            self.emit(self._term().as_json())
            return
        with take(self._path) or nullcontext():
            seats = self._newest()
            work = self._check_in if self.request.action == CHECK_IN else self._renew
            self.emit(self._keep(work(seats)).as_json())

    def _newest(self) -> list[HeldSeat]:
        """Return the request's seats, each as the file has it where that is newer. Keep the others that it has."""
        try:
            kept = from_text(kept_file.read(self._path), self.request.workload, self.request.sku)
        except OSError:
            kept = ()
        asked, now = {one.key for one in self.request.seats}, self.clock.now()
        self._others = [one for one in kept if one.key not in asked and one.expires_at > now]
        return [_newer(one, kept) for one in self.request.seats]

    def _renew(self, seats: Sequence[HeldSeat]) -> list[HeldSeat]:
        """Renew each seat. Returns those that are held or may be."""
        left: list[HeldSeat] = []
        for seat, client_token in zip(seats, self.request.client_tokens, strict=True):
            found = self.calls.renew(seat, client_token)
            if isinstance(found, NotRenewed):
                self.emit(self._failed(seat, found.row, found.code, found.reply, over=found.over).as_json())
                left += [] if found.over else [seat]
                continue
            said = SeatResult(seat=found.seat, taken_again=found.taken_again, request_id=found.request_id)
            self.emit(said.as_json())
            left.append(found.seat)
        return left

    def _check_in(self, seats: Sequence[HeldSeat]) -> list[HeldSeat]:
        """Give each seat back. Returns those that could not be."""
        left: list[HeldSeat] = []
        for seat in seats:
            found = self.calls.check_in(seat)
            if isinstance(found, CheckedIn):
                self.emit(SeatResult(over=found.already, request_id=found.request_id).as_json())
                continue
            self.emit(self._failed(seat, found.row, found.code, found).as_json())
            left.append(seat)
        return left

    def _term(self) -> TermResult:
        arn, region = self.request.license_arn, self.request.region
        found = get_license(self._marketplace, arn, region, self._host_now())
        if isinstance(found, CallFailed) and found.code == NOT_FOUND and region != HOME:
            found = get_license(self._marketplace, arn, HOME, self._host_now())
        if isinstance(found, CallFailed):
            hint = self._hint(found.row, found.code, "")
            return TermResult(answer=found.row.answer.value, reason=found.row.reason, hint=hint, code=found.code)
        return TermResult(ends_at=iso(found.ends_at) if found.ends_at else "", status=found.status)

    def _failed(
        self, seat: HeldSeat, row: ErrorRow, code: str, reply: CallFailed | None, *, over: bool = False
    ) -> SeatResult:
        license = License(name=seat.name, unit=seat.unit, value=seat.value, take=Take.SEAT)
        return SeatResult(
            over=over,
            unknown=row.unreachable,
            answer=row.answer.value,
            reason=row.reason,
            hint=self._hint(row, code, next(named([license]))),
            code=code,
            request_id=reply.request_id if reply else "",
            retry_after_seconds=reply.retry_after_seconds if reply else None,
        )

    def _hint(self, row: ErrorRow, code: str, license: str) -> str:
        here = hint_facts(self.env, OnDenied.HOLD.value, 1)
        facts = caller_of(self._marketplace, None) | {"region": self.request.region, "license": license, "code": code}
        return answers.fill_hint(row.hint, {**here, **facts})

    @property
    def _path(self) -> Path:
        return kept_file.seats_path(Path(self.request.state_dir), self.request.workload)

    def _keep(self, seats: Sequence[HeldSeat]) -> KeptStatus:
        """Replace the file; it holds the seats that are left, and those that were not asked about."""
        try:
            kept_file.replace(self._path, as_text([*self._others, *seats], self.request.workload, self.request.sku))
        except OSError as exc:
            return KeptStatus(kept=False, fault=f"{self.request.state_dir}: {exc.strerror}")
        return KeptStatus(kept=True)


def _newer(seat: HeldSeat, kept: Sequence[HeldSeat]) -> HeldSeat:
    same = [one for one in kept if one.key == seat.key]
    return max([seat, *same], key=lambda one: one.taken_at)
