"""Join what the gate, billing and the pod-status reporter say of themselves into one status and one list of metrics."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sidecar
from sidecar import log
from sidecar.api.metrics import Metric, counter, gauge
from sidecar.billing.protocol import Metering
from sidecar.clock import Clock, iso
from sidecar.entitlement.status import GateState
from sidecar.gate import status as gate_status
from sidecar.gate.history import GateHistory
from sidecar.gate.loop import LOOP, EntitlementLoop
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.gate.license_loop import LicenseLoop
    from sidecar.gate.proof import Proofs
    from sidecar.pod_status.reporter import PodStatusReporter
    from sidecar.sources.loop import SourcesLoop

METERING: Final = "metering"
KUBERNETES: Final = "kubernetes"
LICENSE: Final = "license"
SOURCES: Final = "sources"
"""Loops that are imported only where they run."""
CHECK: Final = "entitlement_check"
"""The operation of the entitlement loop in metrics; that of the billing loop has the loop's name."""
PYTHON: Final = ".".join(str(part) for part in sys.version_info[:3])


class StatusView:
    """An `api.ports.StatusPort` of this process. Reads memory only."""

    def __init__(
        self,
        settings: Settings,
        gate: EntitlementLoop,
        clock: Clock,
        metering: Metering,
        history: GateHistory,
        reporter: PodStatusReporter | None = None,
        licenses: LicenseLoop | None = None,
    ) -> None:
        self.product_code, self.usage, self._metering = settings.product_code, metering.usage, metering
        self._settings, self._gate, self._clock = settings, gate, clock
        self._history, self._reporter, self._licenses = history, reporter, licenses
        self.sources: SourcesLoop | None = None
        """What pulls usage; it begins with the worker."""
        self._started_at = clock.now()
        self.http_counters: Any = None
        self._proofs: Proofs | None = None
        self._making_proofs = threading.Lock()
        self._proof_counts = {"signed": 0, "refused": 0}

    @property
    def proofs(self) -> Proofs:
        """Return what answers the product's nonces; imported when the first route beyond probes and pushes is asked."""
        from sidecar.gate.proof import Proofs

        with self._making_proofs:
            if self._proofs is None:
                self._proofs = Proofs(self._settings, self._gate, self._clock, self._proof_counts)
            return self._proofs

    def stop_proofs(self) -> None:
        """Kill the child that asks for a proof, where one does. Returns at once."""
        if self._proofs:
            self._proofs.stop()

    def gate_state(self) -> GateState:
        return self._gate.state

    def retry_after_seconds(self) -> int:
        return self._gate.retry_after_seconds()

    def stopped_loop(self) -> str | None:
        reporter = self._reporter.stopped_loop if self._reporter else None
        licenses = self._licenses.stopped_loop if self._licenses else None
        sources = self.sources.stopped_loop if self.sources else None
        return self._gate.stopped_loop or self._metering.loop.stopped_loop or licenses or reporter or sources

    def metering_overdue_since(self) -> datetime | None:
        return self._metering.loop.overdue_since

    def metering_fault(self) -> tuple[str, str] | None:
        return self._metering.fault

    def prepare_stop(self) -> None:
        if self.sources:
            self.sources.prepare_stop()
        self._metering.loop.prepare_stop()

    def recheck(self) -> int:
        return self._gate.recheck()

    def status(self) -> Mapping[str, object]:
        return {
            "version": sidecar.__version__,
            "started_at": iso(self._started_at),
            **gate_status.document(self._gate, self._settings),
            "licenses": self._license_status(),
            "metering": self._metering.status(),
            "unused_ledgers": list(self._metering.unused_ledgers),
            "sources": [one.document() for one in self.sources.statuses] if self.sources else [],
            "kubernetes": self._reporter.status() if self._reporter else None,
            "loops": {name: "running" if running else "stopped" for name, running in self._loops().items()},
            "history": self._history.as_json(),
        }

    def entitlements(self) -> Mapping[str, object] | None:
        if self._licenses is None:
            return None
        from sidecar.gate import license_status

        return license_status.entitlements(self._licenses, self._gate, self._settings)

    def _license_status(self) -> Mapping[str, object] | None:
        if self._licenses is None:
            return None
        from sidecar.gate import license_status

        return license_status.document(self._licenses, self._gate, self._settings)

    def _license_metrics(self) -> Sequence[Metric]:
        if self._licenses is None:
            return ()
        from sidecar.gate import license_status

        return license_status.metrics(self._licenses)

    def settings(self) -> Sequence[tuple[str, str, str]]:
        from sidecar.settings import describe  # only where a person looks

        return list(describe.rows(self._settings))

    def metrics(self) -> Sequence[Metric]:
        return [
            *gate_status.metrics(self._gate),
            Metric(
                name="proofs_total",
                kind="counter",
                help="Questions to AWS for the product's own nonce, by outcome.",
                samples=[({"outcome": name}, float(count)) for name, count in self._proof_counts.items()],
            ),
            *self._attempt_metrics(),
            *self._license_metrics(),
            *self._metering.metrics(),
            *self._source_metrics(),
            *self._process_metrics(),
            *self._http_metrics(),
        ]

    def _attempt_metrics(self) -> list[Metric]:
        """Return attempts and last successes: of checks, and of usage where there is any to submit."""
        of = {CHECK: self._gate.counts.attempts}
        if self.usage.dimensions:
            of[METERING] = self._metering.attempts
        counts = [
            ({"operation": operation, "outcome": outcome}, float(count))
            for operation, attempts in of.items()
            for outcome, count in attempts.by_outcome().items()
        ]
        successes = [
            ({"operation": operation}, attempts.accepted_at.timestamp())
            for operation, attempts in of.items()
            if attempts.accepted_at
        ]
        return [
            Metric(
                name="aws_attempts_total",
                kind="counter",
                help="Attempts to ask AWS, by what came of them: entitlement checks, and records submitted.",
                samples=counts,
            ),
            Metric(
                name="aws_accepted_timestamp_seconds",
                kind="gauge",
                help="When AWS last accepted one in this process.",
                samples=successes,
            ),
        ]

    def _source_metrics(self) -> list[Metric]:
        if self.sources is None:
            return []
        of = [({"source": one.source.key, "dimension": one.source.dimension}, one) for one in self.sources.statuses]
        counts = [
            ({**labels, "outcome": outcome}, float(count))
            for labels, one in of
            for outcome, count in (("ok", one.reads), ("failed", one.failures))
        ]
        return [
            Metric(
                name="source_failing",
                kind="gauge",
                help="1 while a source of usage cannot be read; its usage waits.",
                samples=[(labels, float(one.fault is not None)) for labels, one in of],
            ),
            Metric(
                name="source_reads_total",
                kind="counter",
                help="Readings of a source of usage, by what came of them.",
                samples=counts,
            ),
            Metric(
                name="source_read_timestamp_seconds",
                kind="gauge",
                help="When a source of usage was last read.",
                samples=[(labels, one.read_at.timestamp()) for labels, one in of if one.read_at],
            ),
        ]

    def _passed_at(self) -> Mapping[str, datetime]:
        """Return when each loop last ended a pass; those that have not are missing."""
        reporter = self._reporter.passed_at if self._reporter else None
        found = {LOOP: self._gate.counts.passed_at, METERING: self._metering.passed_at, KUBERNETES: reporter}
        found |= {LICENSE: self._licenses.passed_at} if self._licenses else {}
        found[SOURCES] = self.sources.passed_at if self.sources else None
        return {name: at for name, at in found.items() if at}

    def _loops(self) -> Mapping[str, bool]:
        """Loop → whether it runs; metering's only where there is one."""
        loops = {LOOP: self._gate.stopped_loop is None}
        if self.usage.dimensions:
            loops[METERING] = self._metering.loop.stopped_loop is None
        if self._licenses:
            loops[LICENSE] = self._licenses.stopped_loop is None
        if self._reporter:
            loops[KUBERNETES] = self._reporter.stopped_loop is None
        if self.sources:
            loops[SOURCES] = self.sources.stopped_loop is None
        return loops

    def _process_metrics(self) -> list[Metric]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        loops = [({"loop": name}, float(running)) for name, running in self._loops().items()]
        passes = [({"loop": name}, at.timestamp()) for name, at in self._passed_at().items()]
        return [
            Metric(
                name="build_info",
                kind="gauge",
                help="Always 1; versions and product code are labels.",
                samples=[({"version": sidecar.__version__, "python": PYTHON, "product_code": self.product_code}, 1.0)],
            ),
            Metric(name="loop_running", kind="gauge", help="1 while the loop lives.", samples=loops),
            Metric(
                name="loop_passed_timestamp_seconds",
                kind="gauge",
                help="When the loop last ended a pass. Metering has one every 30 seconds, the others when due.",
                samples=passes,
            ),
            counter("log_lines_dropped_total", "Log lines that no reader took in time.", log.LINES.dropped),
            gauge("start_timestamp_seconds", "When this worker started.", self._started_at.timestamp()),
            counter("cpu_seconds_total", "CPU time of the worker.", usage.ru_utime + usage.ru_stime),
        ]

    def _http_metrics(self) -> list[Metric]:
        counters = self.http_counters
        if counters is None:
            return []
        opened = [({"listener": name}, float(count)) for name, count in counters.open.items()]
        refused = [
            ({"listener": name, "status": str(status)}, float(count))
            for (name, status), count in counters.refused.items()
        ]
        return [
            Metric(name="http_connections", kind="gauge", help="Open connections.", samples=opened),
            Metric(
                name="http_refused_total",
                kind="counter",
                help="Requests refused before they reached a route.",
                samples=refused,
            ),
            counter("http_evicted_total", "Connections closed to make room for newer ones.", counters.evicted),
            counter("http_timed_out_total", "Connections closed for being too slow.", counters.timed_out),
            counter("http_failed_total", "Requests whose route failed.", counters.failed + counters.unexpected),
        ]
