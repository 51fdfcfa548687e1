"""Read the end of the contract now and then, where AWS allows that, and tell it ahead of time.

Invariants:
- Everything works without it: GetLicense is a permission of its own, and a refusal is told once.
- It is read a few times a day: a renewal is a new version of the same license, and shows with the next look.

Sources: AWS License Manager API Reference, GetLicense.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sidecar.child.process import ChildProcess, read_message
from sidecar.clock import Clock
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.contract import read_instant
from sidecar.entitlement.contract_end import Stage, renewed, stage
from sidecar.gate.license_events import LicenseEvents
from sidecar.gate.license_messages import TERM, LicenseRequest, TermResult

FIRST_SECONDS: Final = 60.0
"""Up to so long after the gate opened, so that a fleet that starts does not ask at once."""
READ_SECONDS: Final = 6 * 3600.0
AGAIN_SECONDS: Final = 900.0
"""After a failure that passes by itself."""
SPREAD: Final = 0.1
BUDGET_SECONDS: Final = 35.0


class ContractTerm:
    """What is known of the contract's end."""

    def __init__(
        self,
        *,
        clock: Clock,
        events: LicenseEvents,
        request: Callable[[str], LicenseRequest],
        start_child: Callable[[LicenseRequest], ChildProcess],
        chance: Callable[[], float],
    ) -> None:
        self._clock, self._events, self._request = clock, events, request
        self._start_child, self._chance = start_child, chance
        self.license_arn = ""
        self.ends_at: datetime | None = None
        self.unknown: str | None = "not_read_yet"
        """Why the end is not known; None where it is, or where the license has none."""
        self.stage = Stage.FAR
        self.ask_at: datetime | None = None

    def of(self, license_arn: str, now: datetime) -> bool:
        """Take the license that a checkout named; its end is read soon. Returns whether it is another one."""
        if not license_arn or license_arn == self.license_arn:
            return False
        self.license_arn = license_arn
        self.ask_at = now + timedelta(seconds=FIRST_SECONDS * self._chance())
        return True

    def ask_now(self, now: datetime) -> None:
        """Have it read with the next look."""
        if self.license_arn:
            self.ask_at = now

    def look(self, now: datetime) -> bool:
        """Read the end where that is due, and tell how near it is. Returns whether something changed."""
        before = (self.stage, self.ends_at, self.unknown)
        if self.ask_at is not None and now >= self.ask_at:
            self._read(now)
        found = stage(self.ends_at, now)
        if found is not self.stage:
            self._events.term(found, self.ends_at, renewed=renewed(self.stage, found))
            self.stage = found
        return before != (self.stage, self.ends_at, self.unknown)

    def _read(self, now: datetime) -> None:
        found = self._asked()
        answer = AnswerClass(found.answer) if found else AnswerClass.RETRY
        if found is not None and answer is AnswerClass.ACCEPTED:
            self.ends_at, self.unknown = read_instant(found.ends_at), None
        else:
            self.unknown = found.reason if found else "child_failed"
            self._events.term_unknown(self.unknown, found.hint if found else "")
        passing = answer in (AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG)
        pause = AGAIN_SECONDS if passing else READ_SECONDS
        self.ask_at = now + timedelta(seconds=pause * (1 + SPREAD * self._chance()))

    def _asked(self) -> TermResult | None:
        try:
            child = self._start_child(self._request(TERM))
        except OSError:
            return None
        try:
            result, _ = read_message(child, TermResult.from_json, time.monotonic() + BUDGET_SECONDS)
            return result
        finally:
            child.close()
