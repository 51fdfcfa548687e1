"""Join what the gate, billing and the pod-status reporter say of themselves into one status and one list of metrics."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sidecar
from sidecar import log
from sidecar.api.metrics import Metric
from sidecar.billing.protocol import Metering
from sidecar.clock import Clock, iso
from sidecar.entitlement.status import GateState, Status
from sidecar.gate.loop import LOOP, EntitlementLoop
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.pod_status.reporter import PodStatusReporter

METERING: Final = "metering"
KUBERNETES: Final = "kubernetes"
"""Loops that are imported only where they run."""


class StatusView:
    """An `api.ports.StatusPort` of this process. Reads memory only."""

    def __init__(
        self,
        settings: Settings,
        gatekeeper: EntitlementLoop,
        clock: Clock,
        metering: Metering,
        reporter: PodStatusReporter | None = None,
    ) -> None:
        self.product_code, self.usage, self._metering = settings.product_code, metering.usage, metering
        self._settings, self._gatekeeper, self._clock = settings, gatekeeper, clock
        self._reporter = reporter
        self._started_at = clock.now()
        self.http_counters: Any = None

    def gate_state(self) -> GateState:
        return self._gatekeeper.state

    def retry_after_seconds(self) -> int:
        return self._gatekeeper.retry_after_seconds()

    def stopped_loop(self) -> str | None:
        reporter = self._reporter.stopped_loop if self._reporter else None
        return self._gatekeeper.stopped_loop or self._metering.loop.stopped_loop or reporter

    def metering_overdue_since(self) -> datetime | None:
        return self._metering.loop.overdue_since

    def metering_fault(self) -> tuple[str, str] | None:
        return self._metering.fault

    def recheck(self) -> int:
        return self._gatekeeper.recheck()

    def status(self) -> Mapping[str, object]:
        gate, report = self.gate_state(), self._gatekeeper.report
        return {
            "version": sidecar.__version__,
            "started_at": iso(self._started_at),
            "entitlement": {
                "entitled": gate.entitled,
                "status": gate.status.value,
                "reason": gate.reason,
                "hint": gate.hint,
                "checked_at": iso(gate.checked_at) if gate.checked_at else None,
                "asking_since": iso(gate.asking_since),
                "product_code": self.product_code,
                "entitlement_check": self._settings.entitlement_check.value,
                "public_key_version": report.public_key_version,
                "public_key_superseded_at": report.rotation_at,
                "public_key_weak_bits": report.weak_key_bits,
                "kept_answer": report.kept,
                "aws_error": report.code or None,
                "aws_request_id": report.request_id or None,
            },
            "workload": {
                "id": report.workload or None,
                "kind": report.workload_kind or None,
                **report.labels,
            },
            "aws": {
                "region": report.region or None,
                "region_source": report.region_source or None,
                "region_disagreement": report.region_disagreement,
                "partition": report.partition or None,
                "host": report.host or None,
                "credential_source": report.credential_source or None,
                "credential_caution": report.credential_caution or None,
                "role": report.role or None,
            },
            "metering": self._metering.status(),
            "kubernetes": self._reporter.status() if self._reporter else None,
            "loops": {name: "running" if running else "stopped" for name, running in self._loops().items()},
        }

    def metrics(self) -> Sequence[Metric]:
        return [
            *self._gate_metrics(),
            *self._metering.metrics(),
            *self._process_metrics(),
            *self._http_metrics(),
        ]

    def _loops(self) -> Mapping[str, bool]:
        """Loop → whether it runs; metering's only where there is one."""
        loops = {LOOP: self._gatekeeper.stopped_loop is None}
        if self.usage.dimensions:
            loops[METERING] = self._metering.loop.stopped_loop is None
        if self._reporter:
            loops[KUBERNETES] = self._reporter.stopped_loop is None
        return loops

    def _gate_metrics(self) -> list[Metric]:
        gate, report, counts = self.gate_state(), self._gatekeeper.report, self._gatekeeper.counts
        found = [
            _gauge("entitled", "1 while the gate is open.", float(gate.entitled)),
            Metric(
                name="status",
                kind="gauge",
                help="1 for the status /entitled shows, 0 for the others.",
                samples=[({"status": one.value}, float(one is gate.status)) for one in Status],
            ),
            Metric(
                name="registration_answers_total",
                kind="counter",
                help="Answers to the question whether this may run, by class.",
                samples=[({"answer": name}, float(count)) for name, count in counts.answers.items()],
            ),
            _gauge("registration_duration_seconds", "How long the last question took.", counts.seconds_last),
            _counter("answers_not_kept_total", "Verified answers that could not be kept on disk.", counts.not_kept),
            _gauge(
                "public_key_superseded",
                "1 when AWS has rotated the public key this image ships.",
                float(report.rotation_at is not None),
            ),
            _gauge("public_key_weak", "1 when the key is shorter than 2048 bits.", float(bool(report.weak_key_bits))),
            _gauge("kept_answer", "1 while the gate is open on a kept answer.", float(report.kept)),
        ]
        if gate.checked_at:
            checked = gate.checked_at.timestamp()
            found.append(_gauge("checked_timestamp_seconds", "When AWS was last asked.", checked))
        return found

    def _process_metrics(self) -> list[Metric]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        loops = [({"loop": name}, float(running)) for name, running in self._loops().items()]
        return [
            Metric(
                name="build_info",
                kind="gauge",
                help="Always 1; the version is a label.",
                samples=[({"version": sidecar.__version__}, 1.0)],
            ),
            Metric(name="loop_running", kind="gauge", help="1 while the loop lives.", samples=loops),
            _counter("log_lines_dropped_total", "Log lines that no reader took in time.", log.LINES.dropped),
            _gauge("start_timestamp_seconds", "When this worker started.", self._started_at.timestamp()),
            _counter("cpu_seconds_total", "CPU time of the worker.", usage.ru_utime + usage.ru_stime),
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
            _counter("http_evicted_total", "Connections closed to make room for newer ones.", counters.evicted),
            _counter("http_timed_out_total", "Connections closed for being too slow.", counters.timed_out),
            _counter("http_failed_total", "Requests whose route failed.", counters.failed + counters.unexpected),
        ]


def _gauge(name: str, text: str, value: float) -> Metric:
    return Metric(name=name, kind="gauge", help=text, samples=[({}, value)])


def _counter(name: str, text: str, value: float) -> Metric:
    return Metric(name=name, kind="counter", help=text, samples=[({}, float(value))])
