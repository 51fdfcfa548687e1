"""An entitlement loop with everything around it that a test looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.seats import HeldSeat
from sidecar.errors import Exit
from sidecar.gate.contract_messages import OpenCheckout
from sidecar.gate.loop import EntitlementLoop
from sidecar.gate.messages import CheckRequest, CheckResult, KeptStatus, WorkloadIdentity
from sidecar.gate.observer import GateObserver
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.restart_state import RestartState
from tests.fakes.child import FakeChild, reporting
from tests.fakes.clock import FakeClock
from tests.fakes.config import check_request, settings

KEPT = KeptStatus(kept=True)
HOST = "metering.example"
ACCEPTED = CheckResult(
    answer="accepted",
    reason="registered",
    hint="Confirmed.",
    asked=AnsweredBy.REGISTER_USAGE.value,
    public_key_version=1,
    host=HOST,
)
REOPENED = replace(ACCEPTED, reason="kept_answer", from_kept_answer=True)
DENY = CheckResult(
    answer="deny", reason="customer_not_entitled", hint="Subscribe.", code="X", asked="RegisterUsage", host=HOST
)
FORGED = replace(DENY, reason="token_nonce", code="token_nonce", asked=AnsweredBy.TOKEN.value)
CONFIG = replace(DENY, answer="config", reason="access_denied", hint="Allow it.")
RETRY = replace(DENY, answer="retry", reason="throttled", hint="Wait.")
SEAT = HeldSeat(
    name="seats",
    unit="Count",
    value="1",
    consumption_token="opaque-token",
    expires_at=datetime(2026, 11, 28, 23, tzinfo=UTC),
    region="us-east-1",
    license_arn="arn:aws:license-manager::294406891311:license:l-0",
    taken_at=datetime(2026, 11, 28, 22, tzinfo=UTC),
)
HOLDING = replace(ACCEPTED, asked=AnsweredBy.CHECKOUT_LICENSE.value, held=(SEAT,), granted=({"name": "seats"},))
OPEN = OpenCheckout(license="seats\nCount\n1", client_token="a" * 32, asked_at="2026-11-28T22:00:00Z")
LATER = replace(DENY, answer="retry_then_config", reason="credentials_unreachable", hint="Check.")
CONTRADICTION = CheckResult(
    answer="config", reason="bad_settings", hint="x", settings_fault="SIDECAR_WORKLOAD_ID: is 'a'"
)


@dataclass(kw_only=True)
class Recorder(GateObserver):
    """Remembers what it was told; `on_before_open` runs while AWS's answer waits."""

    identities: list[WorkloadIdentity] = field(default_factory=list)
    rechecks: int = 0
    on_before_open: Callable[[], None] = lambda: None

    def identified(self, identity: WorkloadIdentity) -> None:
        self.identities.append(identity)

    def before_open(self) -> None:
        self.on_before_open()

    def recheck_requested(self) -> None:
        self.rechecks += 1


@dataclass(kw_only=True)
class Story:
    """A loop, and everything around it that a test looks at."""

    note: Path
    clock: FakeClock = field(default_factory=FakeClock)
    restart_state: RestartState = field(default_factory=RestartState)
    ended: list[tuple[Exit, str]] = field(default_factory=list)
    started: list[FakeChild] = field(default_factory=list)
    requests: list[CheckRequest] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    broken: Exception | None = None
    settings: dict[str, str] = field(default_factory=dict)
    observer: Recorder = field(default_factory=lambda: Recorder())

    def end(self, code: Exit, text: str) -> None:
        self.ended.append((code, text))
        self.over.set()

    def loop(self, *children: FakeChild, first: FakeChild | None = None, chance: float = 0.5) -> EntitlementLoop:
        """A worker's loop; `children` are what it starts, in turn."""
        waiting = list(children)

        def start(request: CheckRequest) -> FakeChild:
            self.requests.append(request)
            self.asked.set()
            if self.broken:
                raise self.broken
            self.started.append(waiting.pop(0) if waiting else reporting(RETRY))
            return self.started[-1]

        of = settings(termination_log=str(self.note), **self.settings)
        return EntitlementLoop(
            settings=of,
            request=check_request(of),
            clock=self.clock,
            restart_state=self.restart_state,
            end=self.end,
            first=first,  # type: ignore[arg-type]
            start_child=start,  # type: ignore[arg-type]
            chance=lambda: chance,
            observer=self.observer,
        )

    def after(self, *results: CheckResult) -> EntitlementLoop:
        """A loop that has read these results."""
        found = self.loop(*(reporting(one, kept=KEPT) for one in results))
        for _ in results:
            found.check_once()
        return found
