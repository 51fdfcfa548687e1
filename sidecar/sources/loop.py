"""Read each source when it is due, and push what it led to.

A thread that sleeps until the next source is due. What a page or a count means is elsewhere (`prometheus`, `heartbeat`,
`kubernetes`); what is on disk, behind `Store`.

Invariants:
- The last reading is taken from the disk each time, and replaced in the transaction that counts what came since: a
  process that is killed at any point between loses nothing and counts nothing twice.
- A source that fails holds up no other, and has lost nothing: the next reading has the whole increase.
- When the workload begins to end, pages are read each second: a product that ends before the sidecar takes its counter
  with it. At SIGTERM everything is read once more, for a moment, before the running hour is sealed.
- Nothing waits for this loop but that last moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.child import process
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock
from sidecar.errors import DATA_ERRORS, SidecarError
from sidecar.metering.events import PushRefused
from sidecar.metering.hours import clock_hour, next_clock_hour
from sidecar.metering.readings import Reading
from sidecar.quick_dataclasses import replace
from sidecar.remote_clock import FollowedClock
from sidecar.settings.pull_sources import PullSource, SourceKind
from sidecar.sources import heartbeat, kubernetes, page, prometheus, scrape
from sidecar.sources.fault import SourceFault
from sidecar.sources.kubernetes import Cluster, CountRequest
from sidecar.sources.status import SourceStatus
from sidecar.sources.store import Store
from sidecar.sources.taken import Taken

LOOP: Final = "sources"
"""The loop's name in `/healthz`, status and metrics."""
WAITING_SECONDS: Final = 1.0
"""While there is no ledger yet."""
ENDING_SECONDS: Final = 1.0
"""Between two readings of a page while the workload ends."""
FOLLOWING_SECONDS: Final = 0.2
"""Beside an emulator's clock, which may run fast or be set."""
LAST_SECONDS: Final = 1.5
"""For a page, or a count, at SIGTERM."""
PAUSE_SECONDS_MAX: Final = 3600.0
BEAT_SECONDS_MAX: Final = 30.0
"""How often the hour is looked at where there is a heartbeat: a clock that was set, or a host that was suspended, would
else cost an hour."""
DUPLICATE: Final = "id_conflict"
"""The hour was counted before the quantity was changed."""
BROKEN: Final = "An error of the sidecar ({crash}); the log has it. Report it to the vendor."


class SourcesLoop:
    """The thread that pulls usage."""

    def __init__(
        self,
        *,
        sources: Sequence[PullSource],
        store: Store,
        entitled: Callable[[], bool],
        clock: Clock,
        cluster: Cluster | None = None,
        cluster_mount: str = "",
        start_child: Callable[[CountRequest], ChildProcess] = process.spawn,
    ) -> None:
        """`entitled`: whether the gate is open, from memory. `cluster`: None where no token is mounted."""
        self._store, self._entitled, self._clock, self._start_child = store, entitled, clock, start_child
        self._cluster, self._cluster_mount = cluster, cluster_mount
        self.statuses = tuple(SourceStatus(source=source) for source in sources)
        self._due = dict.fromkeys((one.source.key for one in self.statuses), 0.0)
        """Source → when (monotonic) it is read next."""
        self._beaten: dict[str, int] = {}
        """Source → the hour that was counted last."""
        self._wake = threading.Condition()
        self._woken = self._ending = self._stopping = False
        self._ended = threading.Event()
        self.stopped_loop: str | None = None
        self.passed_at: datetime | None = None

    # -- called by other threads -------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def changed(self) -> None:
        """Look at once whether something is due: the gate may have opened. Returns at once."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def prepare_stop(self) -> None:
        """Read pages each second from now on, since the workload has begun to end. Returns at once."""
        with self._wake:
            self._ending = True
            self._due = dict.fromkeys(self._due, 0.0)
            self._wake.notify_all()

    def stop(self) -> None:
        """Read everything once more, then end. Returns at once."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()

    def finish(self, seconds: float) -> None:
        """Do the same, and wait for it; at most so long."""
        self.stop()
        if not self._ended.wait(seconds):
            log.warn("sources.unfinished", waited_seconds=seconds)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._sleep():
                self.run_once()
            self.read_last()
        except BaseException as exc:  # the outermost edge of the thread: /healthz shows it
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
        finally:
            self._ended.set()

    def _sleep(self) -> bool:
        """Wait until a source is due, or the gate changed; False when it is time to stop."""
        with self._wake:
            if not (self._stopping or self._woken):
                self._wake.wait(self.pause_seconds())
            self._woken = False
            return not self._stopping

    def pause_seconds(self) -> float:
        """Return the seconds until something is due."""
        if isinstance(self._clock, FollowedClock):
            return FOLLOWING_SECONDS
        if not self._store.workload:
            return WAITING_SECONDS
        now, monotonic = self._clock.now(), self._clock.monotonic()
        pauses = [until - monotonic for until in self._due.values()]
        if self._beaten:
            pauses.append(min(BEAT_SECONDS_MAX, (next_clock_hour(now) - now).total_seconds()))
        return max(0.0, min(PAUSE_SECONDS_MAX, *pauses))

    def run_once(self) -> None:
        """Read the sources that are due."""
        if isinstance(self._clock, FollowedClock):
            self._clock.refresh()
        if not self._store.workload:
            return
        for status in self.statuses:
            if self._stopping:
                return
            if status.source.kind is SourceKind.HEARTBEAT:
                self._beat(status)
            elif self._due[status.source.key] <= self._clock.monotonic():
                self._due[status.source.key] = self._clock.monotonic() + self._interval(status.source)
                self._attempt(status, None)
        self.passed_at = self._clock.now()

    def read_last(self) -> None:
        """Read every page and count once more, each for a moment."""
        if self._store.workload:
            for status in self.statuses:
                if status.source.kind is not SourceKind.HEARTBEAT:
                    self._attempt(status, LAST_SECONDS)

    def _interval(self, source: PullSource) -> float:
        if self._ending and source.kind is SourceKind.PROMETHEUS:
            return ENDING_SECONDS
        return float(source.interval_seconds)

    def _beat(self, status: SourceStatus) -> None:
        key, hour = status.source.key, clock_hour(self._clock.now())
        self._due[key] = float("inf")
        if not self._entitled() or self._beaten.get(key) == hour:
            return
        self._attempt(status, None)
        if status.fault is None:
            self._beaten[key] = hour
        else:
            self._due[key] = self._clock.monotonic() + WAITING_SECONDS

    def _attempt(self, status: SourceStatus, seconds: float | None) -> None:
        """Read a source, keep what it led to, and note what came of it. `seconds`: where few are left."""
        try:
            taken = self._take(status.source, seconds)
        except SourceFault as exc:
            status.fail(exc, self._clock.now())
        except SidecarError as exc:
            status.fail(SourceFault(exc.reason, exc.hint), self._clock.now())
        except DATA_ERRORS as exc:
            if status.fault is None or status.fault.reason != "source_broken":
                log.LOGGER.error("source.broken", extra={"source": status.source.key}, exc_info=exc)
            fault = SourceFault("source_broken", BROKEN.format(crash=type(exc).__name__))
            status.fail(fault, self._clock.now())
        else:
            status.succeed(taken, self._clock.now())

    def _take(self, source: PullSource, seconds: float | None) -> Taken:
        """Return what a source led to, once it is on disk. Raises SourceFault and SidecarError."""
        if source.kind is SourceKind.HEARTBEAT:
            event = heartbeat.beat(source, self._store.workload, clock_hour(self._clock.now()))
            return self._keep(source, Taken(events=(event,), series=1))
        before = self._store.readings(source.key)
        if source.kind is SourceKind.KUBERNETES:
            request = kubernetes.request_of(source, self._cluster, self._cluster_mount)
            value = kubernetes.count(request, self._start_child, seconds or kubernetes.BUDGET_SECONDS)
            return self._keep(source, kubernetes.take(source, value, before, self._clock.now()))
        return self._keep(source, self._scrape(source, before, seconds or scrape.SECONDS_MAX))

    def _scrape(self, source: PullSource, before: Mapping[str, Reading], seconds: float) -> Taken:
        try:
            scraped = scrape.scrape(source.url, seconds)
        except scrape.NobodyListens:
            self._keep(source, prometheus.nobody_listened(source, before, self._clock.now()))
            raise
        found = page.parse(scraped.body, source.metric, open_metrics=scraped.open_metrics)
        try:
            return prometheus.take(source, found, before, self._clock.now())
        except prometheus.MetricMissing:
            self._keep(source, prometheus.metric_missing(source, found, before, self._clock.now()))
            raise

    def _keep(self, source: PullSource, taken: Taken) -> Taken:
        """Return `taken` once it is on disk. Raises SourceFault where the ledger does not take it."""
        if taken.events or taken.readings:
            result = self._store.keep(taken.events, source.key, taken.readings, self._clock.now())
            if isinstance(result, PushRefused) and result.reason != DUPLICATE:
                raise SourceFault(result.reason, result.detail)
            if isinstance(result, PushRefused) or result.duplicates:
                return replace(taken, events=())
        return taken
