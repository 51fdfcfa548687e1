"""Stand in for the usage port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import Dimension
from tests.fakes.clock import NOON

REQUESTS = Dimension(name="requests")


@dataclass(kw_only=True)
class FakeUsage:
    """An `api.ports.UsagePort` that keeps in memory. `later`: answers are owed until `pay`; `broken` makes all fail."""

    dimensions: Mapping[str, Dimension] = field(default_factory=lambda: {"requests": REQUESTS})
    at: datetime = NOON
    result: PushAccepted | PushRefused | None = None
    """What every push comes to; None: everything is accepted."""
    later: bool = False
    found: Sequence[UsageRecord] = ()
    pages: Mapping[str, tuple[Sequence[str], str]] = field(default_factory=dict)
    broken: Exception | None = None
    on_read: Callable[[], object] = lambda: None
    """Called, and waited for, before records are read for the page."""
    kept: list[UsageEvent] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    owed: list[Callable[[], None]] = field(default_factory=list)
    workload: str = "pod-1"
    orphaned: Sequence[tuple[str, UsageRecord]] = ()
    acts: list[Resolution] = field(default_factory=list)

    def _whole(self) -> None:
        if self.broken:
            raise self.broken

    def now(self) -> datetime:
        self._whole()
        return self.at

    def push(
        self, events: Sequence[UsageEvent], now: datetime, on_result: Callable[[PushAccepted | PushRefused], None]
    ) -> None:
        assert now == self.at
        result = self.result or PushAccepted(accepted=len(events), duplicates=0)
        self.kept += events if isinstance(result, PushAccepted) else ()
        self.owed.append(lambda: on_result(result))
        if not self.later:
            self.pay()

    def commit_pending(self) -> None:
        """Everything was kept at once."""

    def count_refusal(self, reason: str) -> None:
        self.refusals.append(reason)

    def pay(self) -> None:
        """Give every answer that is owed."""
        while self.owed:
            self.owed.pop(0)()

    def records(self) -> Iterator[UsageRecord]:
        self._whole()
        return iter(self.found)

    def recent_records(self, since: Hour) -> Sequence[UsageRecord]:
        self._whole()
        self.on_read()
        return self.found

    def orphans(self) -> Sequence[tuple[str, UsageRecord]]:
        return self.orphaned

    def resolve(self, resolution: Resolution) -> Sequence[UsageRecord]:
        self._whole()
        self.acts.append(resolution)
        return self.found

    def export(self, after: str) -> tuple[Sequence[str], str]:
        self._whole()
        if after and after not in self.pages:
            raise ValueError("no page ended there.")
        return self.pages.get(after, ((), ""))
