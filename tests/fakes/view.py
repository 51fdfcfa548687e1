"""Stand in for the status port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sidecar.api.metrics import Metric
from sidecar.api.ports import Proof, ProofSigned
from sidecar.entitlement.status import GateState, Status
from sidecar.quick_dataclasses import dataclass, field, replace
from tests.fakes.clock import NOON
from tests.fakes.config import PRODUCT
from tests.fakes.usage import FakeUsage

PENDING = GateState(status=Status.PENDING, reason="asking", hint="Wait.", checked_at=None, asking_since=NOON)


def gate_state(status: Status, **changes: Any) -> GateState:
    given = {"status": status, "reason": "some_reason", "hint": "Do this.", "checked_at": NOON} | changes
    return replace(PENDING, **given)


@dataclass(kw_only=True)
class FakeProofs:
    """Gives one answer to every nonce, and remembers the nonces."""

    answer: Proof = field(default_factory=lambda: ProofSigned(token="a.b.c"))
    nonces: list[str] = field(default_factory=list)

    def prove(self, nonce: str) -> Proof:
        self.nonces.append(nonce)
        return self.answer


@dataclass(kw_only=True)
class FakeView:
    """What HTTP is told; every part can be set, and `broken` makes the parts fail."""

    product_code: str = PRODUCT
    now: GateState = PENDING
    retry_after: int = 7
    stopped: str | None = None
    overdue_since: datetime | None = None
    fault: tuple[str, str] | None = None
    usage: FakeUsage = field(default_factory=FakeUsage)
    wait: int = 0
    samples: Sequence[Metric] = ()
    document: Mapping[str, object] = field(default_factory=lambda: {"version": "test"})
    licenses: Mapping[str, object] | None = None
    setting_rows: Sequence[tuple[str, str, str]] = ()
    broken: Exception | None = None
    rechecks: int = 0
    proofs: FakeProofs = field(default_factory=lambda: FakeProofs())
    pre_stops: int = 0

    def _whole(self) -> None:
        if self.broken:
            raise self.broken

    def gate_state(self) -> GateState:
        self._whole()
        return self.now

    def retry_after_seconds(self) -> int:
        return self.retry_after

    def stopped_loop(self) -> str | None:
        return self.stopped

    def metering_overdue_since(self) -> datetime | None:
        return self.overdue_since

    def metering_fault(self) -> tuple[str, str] | None:
        return self.fault

    def metrics(self) -> Sequence[Metric]:
        return self.samples

    def status(self) -> Mapping[str, object]:
        self._whole()
        return self.document

    def entitlements(self) -> Mapping[str, object] | None:
        return self.licenses

    def settings(self) -> Sequence[tuple[str, str, str]]:
        return self.setting_rows

    def prepare_stop(self) -> None:
        self.pre_stops += 1

    def recheck(self) -> int:
        self._whole()
        self.rechecks += 1
        return self.wait
