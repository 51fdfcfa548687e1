"""Offer metering to the rest of the worker: one object over the loop, its ledger and its counters.

Invariants:
- Status and metrics read what the last pass left in memory; neither touches the disk.
- A disk that does not answer is a fault like one that refuses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar import log
from sidecar.api.metrics import Metric
from sidecar.billing.gate_policy import Gate
from sidecar.billing.loop import LOOP, BillingLoop, shown
from sidecar.billing.messages import Submission
from sidecar.billing.orphans import ORPHANED_HINT, UNCONFIGURED_HINT
from sidecar.billing.usage import UNKNOWN, LedgerUsage
from sidecar.child import process
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock, iso
from sidecar.entitlement import kept_pass
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.errors import ExitProcess
from sidecar.ledger import kept_file as answer_file
from sidecar.metering import postponed
from sidecar.metering.dispositions import classify
from sidecar.metering.quantities import exact_sums, plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.settings import EntitlementCheck, OnMeteringOverdue, Settings

LOOKED_SECONDS: Final = 2.0
"""How long an opening gate waits for a ledger whose disk is slow."""
STUCK_SECONDS: Final = 10.0
STUCK: Final = (
    "ledger_stuck",
    "The disk under SIDECAR_STATE_DIR does not answer; look at the node's kernel log and the volume.",
)
OVERDUE: Final = (
    "metering_overdue",
    "No usage could be reported for SIDECAR_METERING_OVERDUE_SECONDS; the log's `metering.overdue` says what to do.",
)


class MeteringService:
    """A `billing.protocol.Metering` for products with dimensions."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        gate: Gate,
        end: ExitProcess,
        start_child: Callable[[Submission], ChildProcess] = process.spawn,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._clock = settings, clock
        self.settlement = BillingLoop(
            settings=settings,
            clock=clock,
            gate=gate,
            end=end,
            start_child=start_child,
            task_goes_on=_task_goes_on,
            keep_pass=self._keep_pass,
            changed=changed,
        )
        self.usage = LedgerUsage(settings, self.settlement, clock)

    # -- what the worker asks for ------------------------------------------------------------------

    def start(self) -> None:
        self.settlement.start()

    def set_identity(self, workload: str, region: str) -> None:
        self.settlement.set_identity(workload, region)

    def wait_until_loaded(self) -> None:
        if self._settings.entitlement_check is EntitlementCheck.METER_USAGE:
            self.settlement.wait_until_loaded(LOOKED_SECONDS)

    def send_now(self) -> None:
        self.settlement.send_now()

    def stop(self) -> None:
        self.settlement.stop()

    def stopped(self) -> bool:
        return self.settlement.stopped()

    @property
    def stopped_loop(self) -> str | None:
        ledger = self.settlement.ledger
        broken = ledger is not None and not ledger.alive and not self.settlement.stopped()
        return LOOP if broken else self.settlement.stopped_loop

    @property
    def overdue_since(self) -> datetime | None:
        return self.settlement.overdue_since

    @property
    def for_a_person(self) -> Mapping[str, int]:
        waiting = self.settlement.waiting
        states = shown(waiting.states) if waiting else {}
        return {name: states.get(name, 0) for name in (State.REJECTED.value, State.DISPUTED.value)}

    @property
    def fault(self) -> tuple[str, str] | None:
        settlement = self.settlement
        since = settlement.checking_since
        if since is not None and self._clock.monotonic() - since > STUCK_SECONDS:
            return STUCK
        fault = settlement.ledger.fault if settlement.ledger else settlement.fault
        if fault is not None:
            return fault.reason, fault.hint
        if settlement.ledger is None:
            return UNKNOWN
        if self.overdue_since and self._settings.on_metering_overdue is OnMeteringOverdue.NOT_READY:
            return OVERDUE
        return None

    def _keep_pass(self, workload: str, dimensions: frozenset[str]) -> None:
        """A settled record says as much as a dry run: where AWS is out of reach after a restart, it opens the gate."""
        if self._settings.entitlement_check is not EntitlementCheck.METER_USAGE:
            return
        path = answer_file.pass_path(self._settings.state_dir, workload)
        product = ProductCode(self._settings.product_code)
        try:
            text = kept_pass.settled(answer_file.read(path), WorkloadId(workload), product, dimensions)
            if text:
                answer_file.replace(path, text)
        except OSError as exc:
            log.warn("answer.save_failed", state_dir=str(self._settings.state_dir), fault=exc.strerror)

    # -- the picture -------------------------------------------------------------------------------

    def status(self) -> Mapping[str, object]:
        """Return what is metered, what waits, and what is wrong with it."""
        settlement, fault = self.settlement, self.fault
        waiting = settlement.waiting
        states = shown(waiting.states) if waiting else {}
        oldest = waiting.oldest_unsettled if waiting else None
        return {
            "dimensions": [dimension.name for dimension in self._settings.dimensions],
            "ledger": {
                "path": str(settlement.ledger.path) if settlement.ledger else None,
                "writable": settlement.ledger is not None and fault is None,
                "reason": fault[0] if fault else None,
                "hint": fault[1] if fault else None,
                "bytes": waiting.bytes if waiting else None,
            },
            "open_hour": iso(waiting.open_from.start) if waiting else None,
            "records": states,
            "oldest_unsettled_hour": iso(oldest.start) if oldest else None,
            "last_settled_at": iso(waiting.last_settled_at) if waiting and waiting.last_settled_at else None,
            "overdue_since": iso(self.overdue_since) if self.overdue_since else None,
            "passed_at": iso(settlement.passed_at) if settlement.passed_at else None,
            "quantities": {
                one.dimension: {
                    "accepted": plain(one.accepted),
                    "settled": plain(one.settled),
                    "waiting": plain(one.waiting),
                }
                for one in settlement.balances
            },
            "held": _held(settlement.sealed),
            "orphaned": settlement.estates.orphaned,
            "hint": " ".join(self._hints(states)) or None,
        }

    def _hints(self, states: Mapping[str, int]) -> Iterable[str]:
        """Yield what keeps usage from being billed until a person acts, and the next step."""
        if any(states.get(state) for state in (State.REJECTED.value, State.DISPUTED.value)):
            yield _for_a_person(states)
        if found := self.settlement.postponed:
            listed = _listed(found.quantities)
            yield f"{listed} wait for {iso(found.open_hour.start)}. {postponed.HINT}"

        everywhere = (self.settlement.unconfigured, self.settlement.estates.unconfigured)
        if waits := exact_sums(pair for one in everywhere for pair in one.items()):
            yield f"{_listed(waits)} wait. {UNCONFIGURED_HINT}"
        if orphaned := self.settlement.estates.orphaned:
            yield f"Rejected or disputed records of workloads that are gone: {len(orphaned)}. {ORPHANED_HINT}"

    def metrics(self) -> Sequence[Metric]:
        """Return what an alert on lost or late usage needs."""
        return [*self._loop_metrics(), *self._quantities(), *self._ledger_metrics(), *self._waiting_metrics()]

    def _loop_metrics(self) -> list[Metric]:
        settlement = self.settlement
        writable = settlement.ledger is not None and self.fault is None
        return [
            Metric(
                name="usage_refused_total",
                kind="counter",
                help="Pushes that were refused, by reason.",
                samples=[({"reason": reason}, float(count)) for reason, count in sorted(self.usage.refusals.items())],
            ),
            Metric(
                name="usage_answers_total",
                kind="counter",
                help="Answers to MeterUsage, by what they meant for the record.",
                samples=[({"disposition": name}, float(count)) for name, count in settlement.answers.items()],
            ),
            _one("usage_left_behind_total", "counter", "What was logged at the end.", settlement.accounts.left_behind),
            _one("metering_overdue", "gauge", "1 while nothing was reported for too long.", bool(self.overdue_since)),
            _one("ledger_writable", "gauge", "1 while usage can be kept.", writable),
        ]

    def _ledger_metrics(self) -> list[Metric]:
        if self.settlement.ledger is None:
            return []
        counters = self.settlement.ledger.counters
        results = [({"result": "accepted"}, counters.accepted), ({"result": "duplicate"}, counters.duplicates)]
        return [
            Metric(
                name="usage_events_total",
                kind="counter",
                help="Usage events that are on disk, and those that were there before.",
                samples=[(labels, float(count)) for labels, count in results],
            ),
            _one("ledger_commits_total", "counter", "Transactions, an fsync each.", counters.commits),
            _one("ledger_commit_seconds_total", "counter", "Time the disk took for them.", counters.commit_seconds),
            _one("ledger_failures_total", "counter", "Transactions the disk did not keep.", counters.failures),
        ]

    def _waiting_metrics(self) -> list[Metric]:
        waiting = self.settlement.waiting
        if waiting is None:
            return []
        now = self._clock.now()
        oldest = (now - waiting.oldest_unsettled.end).total_seconds() if waiting.oldest_unsettled else 0.0
        states = shown(waiting.states).items()
        found = [
            Metric(
                name="usage_records",
                kind="gauge",
                help="Usage records by state; disputed and rejected ones wait for a person.",
                samples=[({"state": state}, float(count)) for state, count in states],
            ),
            _one("usage_oldest_unsettled_seconds", "gauge", "Since its hour ended.", max(0.0, oldest)),
            _one("usage_postponed", "gauge", "1 while usage waits for a far hour.", bool(self.settlement.postponed)),
            _one(
                "usage_records_orphaned",
                "gauge",
                "Rejected and disputed records of workloads that are gone.",
                len(self.settlement.estates.orphaned),
            ),
            _one("usage_rolled_forward_waiting", "gauge", "Amounts for a later hour.", waiting.rolled),
            _one("ledger_bytes", "gauge", "Size of the ledger and its log.", waiting.bytes),
        ]
        if waiting.last_settled_at:
            at = waiting.last_settled_at.timestamp()
            found.append(_one("usage_last_settled_timestamp_seconds", "gauge", "AWS's last yes.", at))
        return found

    def _quantities(self) -> list[Metric]:
        """Quantities by dimension, as of the last pass."""
        balances = self.settlement.balances
        accepted = [({"dimension": one.dimension}, float(one.accepted)) for one in balances]
        settled = [({"dimension": one.dimension}, float(one.settled)) for one in balances]
        waiting = [({"dimension": one.dimension}, float(one.waiting)) for one in balances]
        return [
            Metric(
                name="usage_quantity_accepted_total",
                kind="counter",
                help="Quantity acknowledged ever.",
                samples=accepted,
            ),
            Metric(
                name="usage_quantity_settled_total",
                kind="counter",
                help="Quantity AWS gave a record id for, ever.",
                samples=settled,
            ),
            Metric(
                name="usage_quantity_waiting",
                kind="gauge",
                help="Quantity that is neither billed nor lost.",
                samples=waiting,
            ),
        ]


def _held(sealed: Iterable[UsageRecord]) -> list[dict[str, object]]:
    """Return why records wait for AWS, each of its answers once: the oldest hour it kept, and the next step."""
    oldest: dict[str, UsageRecord] = {}
    for record in sealed:
        if record.last_error:
            oldest.setdefault(record.last_error, record)
    rows = ((code, classify(code), record) for code, record in oldest.items())
    return [
        {"aws_error": code, "reason": row.reason, "hint": row.hint, "oldest_hour": iso(record.hour.start)}
        for code, row, record in rows
    ]


def _for_a_person(states: Mapping[str, int]) -> str:
    """Return the next step of records that wait for one."""
    waiting = [name for name in (State.REJECTED.value, State.DISPUTED.value) if states.get(name)]
    return f"Some records are {' or '.join(waiting)}: see `entitlement-sidecar usage`, then `usage retry`."


def _listed(quantities: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{plain(quantity)} of {name}" for name, quantity in sorted(quantities.items()))


def _one(name: str, kind: str, text: str, value: float) -> Metric:
    return Metric(name=name, kind=kind, help=text, samples=[({}, float(value))])


def _task_goes_on() -> bool:
    """Return whether ECS wants the task to run on. Asked once, at SIGTERM: until then no HTTP client is needed."""
    from sidecar.platform import ecs

    return ecs.task_keeps_running(os.environ)
