"""Describe metering: its part of the status document, its hints and its metrics.

Invariants:
- What is shown is what the last pass left in memory; nothing here touches the disk.
- What keeps usage from being billed until a person acts has a hint with the next step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.api.metrics import Metric, counter, gauge
from sidecar.billing.loop import BillingLoop
from sidecar.billing.orphans import CLAIMED_HINT, ORPHANED_HINT, UNCONFIGURED_HINT
from sidecar.billing.quarantine import HINT as QUARANTINE_HINT
from sidecar.billing.snapshot import Snapshot
from sidecar.clock import iso
from sidecar.ledger.balance import Balance
from sidecar.ledger.gone_records import FOR_A_PERSON
from sidecar.ledger.ledger import Ledger
from sidecar.metering import postponed
from sidecar.metering.dispositions import classify
from sidecar.metering.quantities import exact_sums, plain
from sidecar.metering.records import UsageRecord
from sidecar.settings import Settings

REGION_HINT: Final = "The region is not known yet: usage is kept, and sent once `region` is there."
Fault = tuple[str, str]
"""Reason and hint."""


def for_a_person(snapshot: Snapshot) -> dict[str, int]:
    """Return the number of records that wait for a person, by state."""
    return {state.value: snapshot.records.get(state.value, 0) for state in FOR_A_PERSON}


def document(loop: BillingLoop, settings: Settings, fault: Fault | None) -> dict[str, object]:
    """Return `metering` of `GET /v1/status`: what is metered, what waits, and what is wrong with it."""
    snapshot, ledger = loop.snapshot, loop.ledger
    waiting = snapshot.waiting
    oldest = waiting.oldest_unsettled if waiting else None
    reason, hint = fault or (None, None)
    return {
        "dimensions": [dimension.name for dimension in settings.dimensions],
        "ledger": {
            "path": str(ledger.path) if ledger else None,
            "writable": ledger is not None and fault is None,
            "reason": reason,
            "hint": hint,
            "bytes": waiting.bytes if waiting else None,
        },
        "open_hour": iso(waiting.open_from.start) if waiting else None,
        "records": snapshot.records,
        "oldest_unsettled_hour": _iso(oldest.start if oldest else None),
        "last_settled_at": _iso(waiting.last_settled_at if waiting else None),
        "overdue_since": _iso(loop.overdue_since),
        "passed_at": _iso(loop.monitor.passed_at),
        "quantities": {
            one.dimension: {
                "accepted": plain(one.accepted),
                "settled": plain(one.settled),
                "waiting": plain(one.waiting),
                "written_off": plain(one.written_off),
                "over_billed": plain(one.over_billed),
            }
            for one in snapshot.balances
        },
        "held": _held(snapshot.sealed),
        "orphaned": loop.orphans.orphaned,
        "claimed": {name: plain(amount) for name, amount in loop.orphans.claimed.items()},
        "quarantined": [one.as_json() for one in loop.quarantine],
        "hint": " ".join(_hints(loop)) or None,
    }


def metrics(loop: BillingLoop, refusals: Mapping[str, int], fault: Fault | None, now: datetime) -> list[Metric]:
    """Return what an alert on lost or late usage needs; `refusals`: pushes refused, by reason."""
    ledger, events = loop.ledger, loop.events
    writable = ledger is not None and fault is None
    found = [
        Metric(
            name="usage_refused_total",
            kind="counter",
            help="Pushes that were refused, by reason.",
            samples=[({"reason": reason}, float(count)) for reason, count in sorted(refusals.items())],
        ),
        Metric(
            name="usage_answers_total",
            kind="counter",
            help="Answers to MeterUsage, by what they meant for the record.",
            samples=[({"disposition": name}, float(count)) for name, count in events.dispositions.items()],
        ),
        counter(
            "usage_left_behind_total",
            "Not settled by the final flush; at the end, what was logged.",
            events.left_behind,
        ),
        gauge("metering_overdue", "1 while nothing was reported for too long.", bool(loop.overdue_since)),
        gauge("usage_quarantined", "What could not be processed and waits in the ledger.", len(loop.quarantine)),
        gauge("ledger_writable", "1 while usage can be kept.", writable),
    ]
    quantities = _quantity_metrics(loop.snapshot.balances)
    return [*found, *quantities, *(_ledger_metrics(ledger) if ledger else ()), *_waiting_metrics(loop, now)]


def _quantity_metrics(balances: Sequence[Balance]) -> list[Metric]:
    return [
        Metric(
            name="usage_quantity_accepted_total",
            kind="counter",
            help="Quantity acknowledged ever.",
            samples=[({"dimension": one.dimension}, float(one.accepted)) for one in balances],
        ),
        Metric(
            name="usage_quantity_settled_total",
            kind="counter",
            help="Quantity AWS gave a record id for, ever.",
            samples=[({"dimension": one.dimension}, float(one.settled)) for one in balances],
        ),
        Metric(
            name="usage_quantity_written_off_total",
            kind="counter",
            help="Of what is settled, what AWS did not bill: a person accepted its smaller quantities.",
            samples=[({"dimension": one.dimension}, float(one.written_off)) for one in balances],
        ),
        Metric(
            name="usage_quantity_over_billed_total",
            kind="counter",
            help="What AWS billed above what is settled: a person accepted its larger quantities.",
            samples=[({"dimension": one.dimension}, float(one.over_billed)) for one in balances],
        ),
        Metric(
            name="usage_quantity_waiting",
            kind="gauge",
            help="Quantity that is neither billed nor lost.",
            samples=[({"dimension": one.dimension}, float(one.waiting)) for one in balances],
        ),
    ]


def _ledger_metrics(ledger: Ledger) -> Iterator[Metric]:
    counters = ledger.counters
    yield Metric(
        name="usage_events_total",
        kind="counter",
        help="Usage events that are on disk, and those that were there before.",
        samples=[
            ({"result": "accepted"}, float(counters.accepted)),
            ({"result": "duplicate"}, float(counters.duplicates)),
        ],
    )
    yield counter("ledger_commits_total", "Transactions, an fsync each.", counters.commits)
    yield counter("ledger_commit_seconds_total", "Time the disk took for them.", counters.commit_seconds)
    yield counter("ledger_failures_total", "Transactions the disk did not keep.", counters.failures)


def _waiting_metrics(loop: BillingLoop, now: datetime) -> Iterator[Metric]:
    snapshot, waiting, orphaned = loop.snapshot, loop.snapshot.waiting, len(loop.orphans.orphaned)
    if waiting is None:
        return
    oldest = (now - waiting.oldest_unsettled.end).total_seconds() if waiting.oldest_unsettled else 0.0
    yield Metric(
        name="usage_records",
        kind="gauge",
        help="Usage records by state; disputed and rejected ones wait for a person.",
        samples=[({"state": state}, float(count)) for state, count in snapshot.records.items()],
    )
    yield gauge("usage_oldest_unsettled_seconds", "Since its hour ended.", max(0.0, oldest))
    yield gauge("usage_postponed", "1 while usage waits for a far hour.", bool(snapshot.postponed))
    yield gauge("usage_records_orphaned", "Rejected and disputed records of workloads that are gone.", orphaned)
    yield Metric(
        name="usage_quantity_claimed",
        kind="gauge",
        help="Quantity of workloads that are gone which a sidecar claimed and has not taken.",
        samples=[({"dimension": name}, float(amount)) for name, amount in loop.orphans.claimed.items()],
    )
    unanswered = loop.orphans.unanswered
    yield gauge("usage_unanswered", "Records of workloads that are gone, sent without an answer.", unanswered)
    yield Metric(
        name="usage_quantity_unconfigured",
        kind="gauge",
        help="Quantity of dimensions that are not configured, which is not billed.",
        samples=[({"dimension": name}, float(amount)) for name, amount in _unconfigured(loop).items()],
    )
    yield gauge("usage_rolled_forward_waiting", "Amounts for a later hour.", waiting.rolled)
    yield gauge("ledger_bytes", "Size of the ledger and its log.", waiting.bytes)
    if waiting.last_settled_at:
        at = waiting.last_settled_at.timestamp()
        yield gauge("usage_last_settled_timestamp_seconds", "AWS's last yes.", at)


def _hints(loop: BillingLoop) -> Iterator[str]:
    """Yield what keeps usage from being billed until a person acts, and the next step."""
    if loop.ledger and not loop.events.region:
        yield REGION_HINT
    if waiting := [name for name, count in for_a_person(loop.snapshot).items() if count]:
        yield f"Some records are {' or '.join(waiting)}: see `entitlement-sidecar usage`, then `usage retry`."
    if found := loop.snapshot.postponed:
        yield f"{_listed(found.quantities)} wait for {iso(found.open_hour.start)}. {postponed.HINT}"
    if waits := _unconfigured(loop):
        yield f"{_listed(waits)} wait. {UNCONFIGURED_HINT}"
    if loop.quarantine:
        yield f"{', '.join(one.name for one in loop.quarantine)}: {QUARANTINE_HINT}"
    if claimed := loop.orphans.claimed:
        yield f"{_listed(claimed)} wait. {CLAIMED_HINT}"
    if orphaned := loop.orphans.orphaned:
        yield f"Rejected or disputed records of workloads that are gone: {len(orphaned)}. {ORPHANED_HINT}"


def _unconfigured(loop: BillingLoop) -> Mapping[str, Decimal]:
    """Return what waits of dimensions that are not configured, by dimension: ours, and of workloads that are gone."""
    everywhere = (loop.snapshot.unconfigured, loop.orphans.unconfigured)
    return exact_sums(pair for one in everywhere for pair in one.items())


def _held(sealed: Iterable[UsageRecord]) -> list[dict[str, object]]:
    """Return why records wait for AWS, each of its answers once: the oldest hour it holds, and the next step."""
    oldest: dict[str, UsageRecord] = {}
    for record in sealed:
        if record.last_error:
            oldest.setdefault(record.last_error, record)
    rows = ((code, classify(code), record) for code, record in oldest.items())
    return [
        {"aws_error": code, "reason": row.reason, "hint": row.hint, "oldest_hour": iso(record.hour.start)}
        for code, row, record in rows
    ]


def _listed(quantities: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{plain(quantity)} of {name}" for name, quantity in sorted(quantities.items()))


def _iso(instant: datetime | None) -> str | None:
    return iso(instant) if instant else None
