"""What does metering mean for the gate? The denied first record, and usage that is overdue.

Rules kept here:
- Where only dry runs were asked, the first real record is the first answer about the customer. It is looked up
  in the audit trail: the record may have been throttled since, or rolled forward.
- A yes of AWS ends every doubt.
- What is done about a doubt is the operator's choice; said it is in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from sidecar.agent.accounts import Accounts
from sidecar.entitlement.hold import Hold
from sidecar.ledger.balance import Waiting
from sidecar.ledger.store import Ledger
from sidecar.metering.dispositions import TABLE
from sidecar.metering.overdue import Reporting
from sidecar.metering.records import UsageRecord
from sidecar.settings import EntitlementCheck, OnFirstMeterDenied, OnMeteringOverdue, Settings

DENIED: Final = tuple(code for code, row in TABLE.items() if row.reason == "customer_not_entitled")
DENIED_HINT: Final = "AWS says that this account has no subscription; usage is kept and sent again."


class Gate(Protocol):
    """What metering asks of entitlement, and may do to it."""

    @property
    def has_opened(self) -> bool:
        """Whether AWS ever let this workload run."""

    @property
    def hold(self) -> Hold | None:
        """What it is kept shut for; an earlier worker may have said so."""

    def impose(self, hold: Hold | None) -> None:
        """Shut the gate, or end that."""


class Doubts:
    """Whether usage speaks against an open gate."""

    def __init__(
        self, settings: Settings, gate: Gate, accounts: Accounts, keep_pass: Callable[[frozenset[str]], None]
    ) -> None:
        """`keep_pass`: AWS took records of these dimensions."""
        self._settings, self._gate, self._accounts, self._keep_pass = settings, gate, accounts, keep_pass
        self._hold = gate.hold
        self._reporting = Reporting()
        self._denied_said = False
        self._proven: frozenset[str] = frozenset()
        self.overdue_since: datetime | None = None

    def answered(self, ledger: Ledger, settled: frozenset[str]) -> None:
        """AWS answered some records, and took those of the dimensions `settled`."""
        if not settled:
            self.look_back(ledger)
            return
        self._reporting = self._reporting.settled()
        if not settled <= self._proven:
            self._proven |= settled
            self._keep_pass(settled)
        self._impose(None)

    def begin(self, ledger: Ledger) -> None:
        """What an earlier process left: since when AWS took nothing, and whether it ever said no."""
        self._reporting = Reporting(failing_since=ledger.failing_since())
        self.look_back(ledger)

    def look_back(self, ledger: Ledger) -> None:
        """Whether AWS said no to the first record."""
        if self._settings.entitlement_check is not EntitlementCheck.METER_USAGE or self._hold:
            return
        if ledger.waiting().ever_settled or not ledger.ever_answered(DENIED):
            return
        policy = self._settings.on_first_meter_denied
        if not self._denied_said:
            self._denied_said = True
            self._accounts.denied(policy.value, DENIED_HINT)
        if policy is OnFirstMeterDenied.SHUT:
            self._impose(Hold.FIRST_METER_DENIED)

    def passed(self, sealed: tuple[UsageRecord, ...], waiting: Waiting, now: datetime) -> None:
        """After a pass that could send: what waits still."""
        self._reporting = self._reporting.seen(sealed, waiting.rolled, waiting.last_settled_at, now)
        allowed = timedelta(seconds=self._settings.metering_overdue_seconds)
        before, self.overdue_since = self.overdue_since, self._reporting.overdue_since(now, allowed)
        if self.overdue_since and not before:
            self._accounts.overdue(self.overdue_since, self._settings.on_metering_overdue.value)
            if self._settings.on_metering_overdue is OnMeteringOverdue.SHUT and self._hold is None:
                self._impose(Hold.METERING_OVERDUE)
        elif before and not self.overdue_since:
            self._accounts.recovered()
        if self._hold is Hold.METERING_OVERDUE and not self.overdue_since and not waiting.rolled:
            self._impose(None)  # also one that an earlier worker imposed; what rolls forward was not reported yet

    def _impose(self, hold: Hold | None) -> None:
        if hold is not self._hold:
            self._hold = hold
            self._gate.impose(hold)
