"""Run the checks one after the other, and collect their findings.

Invariants:
- No check ends the others: one that raises, or does not end in time, has failed, and the next one runs.
- Of an exception only its class is shown: its text may hold anything.
- The diagnosis ends within a minute, whatever hangs: a person waits for it.
- A check without which another says nothing is run before it; where it failed, the other is skipped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, Status, failed, skipped
from sidecar.doctor.table import CHECKS, Check
from sidecar.quick_dataclasses import dataclass

CHECK_SECONDS: Final = 20.0
"""Longer than a check that waits for the network; a disk that does not answer ends here."""
TOTAL_SECONDS: Final = 45.0
"""For all checks together; after it each has LAST_SECONDS, which is enough where nothing hangs."""
LAST_SECONDS: Final = 0.8
BROKEN: Final = "Report this to the product's vendor, with the output of `entitlement-sidecar doctor --json`."
STUCK: Final = "See whether the disk or the network that this check uses answers at all, and run it again."


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The findings of all checks, by id, in the table's order."""

    findings: dict[str, Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return all(finding.status is not Status.FAIL for finding in self.findings.values())

    def as_json(self) -> dict[str, object]:
        """Return the document of `doctor --json`."""
        checks = [
            {
                "id": id_,
                "status": finding.status.value,
                "seen": finding.seen,
                "rule": finding.rule,
                "fix": finding.fix,
            }
            for id_, finding in self.findings.items()
        ]
        return {"ok": self.ok, "checks": checks}


def diagnose(
    context: Context,
    checks: Sequence[Check] = CHECKS,
    begun: Callable[[str], None] = lambda id_: None,
    seconds: float = CHECK_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
) -> Diagnosis:
    """Run the checks. `begun` is called with the id of each before it runs.

    `seconds`: how long each may take; once `total_seconds` are over, LAST_SECONDS at most.
    """
    deadline = monotonic() + total_seconds
    findings: dict[str, Finding] = {}
    blocked: set[str] = set()
    for check in checks:
        begun(check.id)
        missing = [id_ for id_ in check.needs if id_ in blocked]
        if missing:
            finding = skipped(check.rule, f"not checked: it needs what {' and '.join(missing)} found wrong")
        else:
            finding = _in_time(check, context, min(seconds, max(LAST_SECONDS, deadline - monotonic())))
        if missing or finding.status is Status.FAIL:
            blocked.add(check.id)
        findings[check.id] = finding
    return Diagnosis(findings=findings)


def _in_time(check: Check, context: Context, seconds: float) -> Finding:
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.append(_run(check, context)), name=check.id, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else failed(check.rule, f"the check did not end within {seconds:.2g} s", STUCK)


def _run(check: Check, context: Context) -> Finding:
    try:
        return check.run(context)
    except Exception as exc:  # the outermost edge of a check: the others go on
        return failed(check.rule, f"the check broke: {type(exc).__name__}", BROKEN)
