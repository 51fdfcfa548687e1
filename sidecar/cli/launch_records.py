"""Run `usage test-records`: send one real record of quantity 1 for each dimension, before the launch.

AWS asks for it: a listing request fails until each dimension has received one.

Invariants:
- The records are real and billed; nothing is sent without a confirmation.
- They are sealed and stored like any other usage, in the workload's ledger. Where a sidecar runs it holds that ledger,
  and the command refuses: the hour that the sidecar reports could not be reported a second time.

Sources: AWS Marketplace seller guide, "Configuring custom metering with MeterUsage" (test records).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, TextIO

from sidecar import log
from sidecar.billing.drawdowns import drawdowns
from sidecar.billing.loop import BillingLoop
from sidecar.child import process
from sidecar.clock import iso
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.hold import Hold, Shown
from sidecar.errors import Exit, Problem, SettingsError
from sidecar.gate.messages import CheckRequest, CheckResult, WorkloadIdentity, read_result
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import exact_product, plain, to_micros
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.printable import one_line
from sidecar.quick_dataclasses import replace
from sidecar.remote_clock import clock_for
from sidecar.settings import Dimension, Settings
from sidecar.settings.dimensions import PLACES, Aggregation

KEY: Final = "test-record"
ALREADY: Final = "this hour was reported already; AWS takes one record an hour. Run it again after the hour's end."
LOCKED: Final = (
    "A sidecar runs here and reports this hour itself. Run the command in a separate pod or task, with the same service"
    " account or task role: `kubectl run` with the image and this command, or `aws ecs run-task` with a command"
    " override."
)

LEFT_OVER: Final = (
    "usage that was reported before waits in SIDECAR_STATE_DIR, and would be billed together with the test. Let"
    " `entitlement-sidecar run` settle it, or run this command in a separate pod or task."
)


class OpenGate:
    """A gate for the billing loop: entitled, and never shut by metering."""

    has_opened = True
    hold: Hold | None = None

    def set_hold(self, hold: Hold | None, shown: Shown | None = None) -> None:
        """Do nothing: there is no gate."""


def run(settings: Settings, yes: bool, as_json: bool, ask: Callable[[str], str] | None = None) -> int:
    """Send the records. Returns 0 where AWS took one of every dimension, else 1. Raises SettingsError."""
    drawn = drawdowns(settings)
    settings = replace(settings, dimensions=tuple(one for one in settings.dimensions if one.name not in drawn))
    if drawn:
        sys.stderr.write(f"{', '.join(drawn)}: drawn from a license for good, so left out.\n")
    if not settings.dimensions:
        fault = "is missing: there is no dimension to send a record of."
        raise SettingsError([Problem(setting="SIDECAR_DIMENSIONS", fault=fault, example="requests")])
    odd = [dimension.name for dimension in settings.dimensions if not _comes_to_one(dimension)]
    if odd:
        rule = "no event comes to exactly 1 with its scale; give it scale 1 for this command"
        sys.stderr.write(f"{', '.join(odd)}: {rule}.\nNothing was sent.\n")
        return Exit.FAILED
    names = ", ".join(dimension.name for dimension in settings.dimensions)
    if not yes and not _confirmed(f"This sends one real, billed record of quantity 1 for each of: {names}.", ask):
        sys.stderr.write("Nothing was sent.\n")
        return Exit.FAILED
    log.silence()
    sys.stderr.write("Asking AWS whether this workload may run …\n")
    identity, result = _entitled(settings)
    if result.verdict is not AnswerClass.ACCEPTED:
        sys.stderr.write(one_line(f"{result.reason}: {result.hint}") + "\nNothing was sent.\n")
        return Exit.FAILED
    return _send(settings, identity, as_json)


def _confirmed(question: str, ask: Callable[[str], str] | None) -> bool:
    if ask is None and not sys.stdin.isatty():
        sys.stderr.write(f"{question} Give --yes to send them.\n")
        return False
    return (ask or input)(f"{question}\nType yes to send them: ").strip().lower() == "yes"


def _entitled(settings: Settings) -> tuple[WorkloadIdentity, CheckResult]:
    """Ask AWS whether this workload may run, as `run` does before it meters."""
    request = CheckRequest.of(settings, spare_workload_id=os.urandom(16).hex())
    child = process.spawn(request)
    found = [WorkloadIdentity()]
    try:
        result, _ = read_result(child, time.monotonic() + request.budget_seconds, found.append)
    finally:
        child.close()
    hint = "AWS could not be asked; try again."
    return found[-1], result or CheckResult(answer=AnswerClass.RETRY.value, reason=process.CHILD_FAILED, hint=hint)


def _send(settings: Settings, identity: WorkloadIdentity, as_json: bool) -> int:
    clock = clock_for(settings.clock_url)
    loop = BillingLoop(settings=settings, clock=clock, gate=OpenGate())
    loop.set_identity(identity.workload, identity.region)
    loop.run_once()
    ledger = loop.ledger
    if ledger is None:
        fault = loop.fault
        locked = fault is not None and fault.reason == "ledger_locked"
        sys.stderr.write((LOCKED if locked or fault is None else fault.hint) + "\nNothing was sent.\n")
        return Exit.FAILED
    try:
        now = clock.now()
        hour = Hour.at(now)
        obstacle = f"{hour}: {ALREADY}" if ledger.open_from() > hour else _left_over(ledger)
        if obstacle:
            sys.stderr.write(f"{obstacle}\nNothing was sent.\n")
            return Exit.FAILED
        result = ledger.push([_one(dimension) for dimension in settings.dimensions], now)
        if isinstance(result, PushRefused):
            sys.stderr.write(f"{result.reason}: {result.detail}\n")
            return Exit.FAILED
        sys.stderr.write(f"Sending {len(settings.dimensions)} records for the hour {hour} …\n")
        loop.flush()
        records = [ledger.find(hour, dimension.name) for dimension in settings.dimensions]
    finally:
        ledger.close()
    found = [record for record in records if record]
    _show(sys.stdout, found, as_json)
    fine = len(found) == len(settings.dimensions) and all(record.state is State.SETTLED for record in found)
    return Exit.OK if fine else Exit.FAILED


def _left_over(ledger: Ledger) -> str:
    """Return a message about unsealed usage that would be billed with the test; empty where there is none."""
    _, _, balances = ledger.snapshot()
    names = ", ".join(f"{plain(one.unsealed)} of {one.dimension}" for one in balances if one.unsealed)
    return f"{names}: {LEFT_OVER}" if names else ""


def _raw(dimension: Dimension) -> Decimal:
    """Return the quantity to report for a record of 1, cut to six places; of a `unique` dimension, one key is 1."""
    if dimension.aggregation is Aggregation.UNIQUE:
        return Decimal(1)
    return (Decimal(1) / dimension.scale).quantize(Decimal(1).scaleb(-PLACES))


def _comes_to_one(dimension: Dimension) -> bool:
    return exact_product(_raw(dimension), dimension.scale) == 1


def _one(dimension: Dimension) -> UsageEvent:
    """Return an event that comes to quantity 1 once it is scaled."""
    key = KEY if dimension.aggregation is Aggregation.UNIQUE else None
    return UsageEvent(dimension=dimension.name, micros=to_micros(_raw(dimension)), key=key)


def _show(out: TextIO, records: Sequence[UsageRecord], as_json: bool) -> None:
    rows = [
        {
            "dimension": record.dimension,
            "quantity": plain(record.quantity),
            "state": record.state.value,
            "metering_record_id": record.record_id,
            "last_error": record.last_error,
        }
        for record in records
    ]
    if as_json:
        hours = [{"hour": iso(record.hour.start)} for record in records]
        out.write(json.dumps({"records": [hour | row for hour, row in zip(hours, rows, strict=True)]}) + "\n")
        return
    out.write("DIMENSION\tQUANTITY\tSTATE\tRECORD_ID\tLAST_ERROR\n")
    for row in rows:
        out.write("\t".join(one_line(value or "-") for value in row.values()) + "\n")
