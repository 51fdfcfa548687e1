"""Define what the routes need from the rest of the process: protocols that `app`, `gate` and `billing` implement.

Invariants:
- Everything in `StatusPort` reads memory and returns at once; probes are answered from it.
- What waits for a disk is in `UsagePort`, what waits for AWS in `ProofPort`; their docstrings say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from sidecar.api.metrics import Metric
from sidecar.entitlement.status import GateState
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import Dimension

if TYPE_CHECKING:  # a product that is not metered pays nothing for metering
    from sidecar.metering.hours import Hour
    from sidecar.metering.records import UsageRecord
    from sidecar.metering.resolution import Resolution


class UsagePort(Protocol):
    """Usage in, records out. A product that is not metered has one too, without dimensions and records."""

    @property
    def dimensions(self) -> Mapping[str, Dimension]:
        """Return what may be pushed, by name."""

    def now(self) -> datetime:
        """Return the current instant. Returns at once."""

    def push(
        self, events: Sequence[UsageEvent], now: datetime, on_result: Callable[[PushAccepted | PushRefused], None]
    ) -> None:
        """Store these events, all or none, with the next `commit_pending`. Returns at once.

        `on_result` is called once, on any thread, after the events are on disk. It must be quick and must not raise.
        """

    def commit_pending(self) -> None:
        """Start to write everything that was pushed, in one transaction. Returns at once."""

    def count_refusal(self, reason: str) -> None:
        """Count a refused push that never reached `push`."""

    def records(self) -> Iterator[UsageRecord]:
        """Yield every record, oldest first, open hours last. Waits for the disk. Raises SidecarError."""

    def recent_records(self, since: Hour) -> Sequence[UsageRecord]:
        """Return the records of hours from `since` on, and of earlier ones those that AWS has not accepted.

        Oldest first, open hours last. Waits for the disk. Raises SidecarError.
        """

    @property
    def workload(self) -> str:
        """Return whose records these are; empty while that is not known."""

    def orphans(self) -> Sequence[tuple[str, UsageRecord]]:
        """Return records that wait for a person in ledgers of workloads that are gone, each with its workload.

        Reads memory: what the last look at those ledgers found.
        """

    def resolve(self, resolution: Resolution) -> Sequence[UsageRecord]:
        """Apply a person's decision to rejected and disputed records, and return them as they are afterwards.

        Waits for the disk. Raises SidecarError, DecisionRefused and IllegalTransition where nothing was changed.
        """

    def export(self, after: str) -> tuple[Sequence[str], str]:
        """Return a page of the audit copy, as lines of JSON, and the `after` of the next page; empty after the last.

        `after`: empty for the first page. Waits for the disk. Raises SidecarError, and ValueError for an `after` that
        no page has.
        """


class NoProof(Enum):
    """Why a proof was not given."""

    NOTHING_SIGNED = "nothing_signed"
    """The entitlement is checked in a way that AWS does not sign."""
    DENIED = "denied"
    """AWS says no, now or when the gate asked."""
    UNAVAILABLE = "unavailable"
    """The gate is not open yet, AWS could not be asked, or someone here must change something."""
    UNVERIFIED = "unverified"
    """AWS, or what answers in its place, gave a token that does not prove this nonce."""
    TOO_SOON = "too_soon"
    """AWS was asked about another nonce a moment ago."""


@dataclass(frozen=True, kw_only=True)
class ProofRefused:
    """A proof that was not given."""

    why: NoProof
    reason: str
    hint: str
    retry_after_seconds: int | None = None
    """None: asking again changes nothing by itself."""


@dataclass(frozen=True, kw_only=True)
class ProofSigned:
    """AWS's verified signature over the product's nonce."""

    token: str = field(repr=False)


Proof = ProofSigned | ProofRefused


class ProofPort(Protocol):
    """Answers to the product's own nonces."""

    def prove(self, nonce: str) -> Proof:
        """Return AWS's signature over this nonce, or why there is none. Waits for AWS, at most half a minute."""


class StatusPort(Protocol):
    """The state that the routes read, and what they may start: a recheck, the end."""

    product_code: str
    usage: UsagePort

    @property
    def proofs(self) -> ProofPort:
        """Return what answers the product's nonces."""

    def gate_state(self) -> GateState:
        """Return the current state of the gate."""

    def retry_after_seconds(self) -> int:
        """Return after how many seconds a client should read a shut gate again, at least 1."""

    def stopped_loop(self) -> str | None:
        """Return the name of a loop that died, or None."""

    def metering_overdue_since(self) -> datetime | None:
        """Return since when usage is overdue at AWS, or None."""

    def metering_fault(self) -> tuple[str, str] | None:
        """Return reason and hint where usage cannot be stored, or is overdue and not ready for that; else None."""

    def metrics(self) -> Sequence[Metric]:
        """Return every metric of the process."""

    def status(self) -> Mapping[str, object]:
        """Return the document of `GET /v1/status`."""

    def entitlements(self) -> Mapping[str, object] | None:
        """Return the document of `GET /v1/entitlements`; None where no contract is checked."""

    def settings(self) -> Sequence[tuple[str, str, str]]:
        """Return every setting as variable, value and source, keys as fingerprints."""

    def prepare_stop(self) -> None:
        """Note that the workload has begun to end."""

    def recheck(self) -> int:
        """Ask AWS again. Returns 0 where it is being asked, otherwise the seconds to wait before the next attempt."""
