"""Say how the service is: health, readiness, metrics and the status document. Reads memory only.

Invariants:
- A replica that does not lead is healthy and ready: it takes usage.
- A database that fails makes it not ready, never unhealthy: a restart repairs nothing there.
- The document names the database without user and password.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import sidecar
from sidecar.api.metrics import Metric, counter, gauge
from sidecar.clock import iso
from sidecar.metering.states import State
from sidecar.saas.customers import CustomerState
from sidecar.saas.intake import Intake
from sidecar.saas.leading import Leading
from sidecar.saas.log_events import SaasEvents
from sidecar.settings.saas import SaasSettings

Fault = tuple[str, str]
"""Reason and hint."""
STOPPED: Final = "The {} loop has stopped; restart the container."


class SaasStatus:
    """What one replica knows of itself."""

    def __init__(
        self,
        settings: SaasSettings,
        leading: Leading,
        intake: Intake,
        events: SaasEvents,
        now: Callable[[], datetime],
    ) -> None:
        self._settings, self._leading, self._intake, self._events, self._now = settings, leading, intake, events, now
        self._started_at = now()

    def unhealthy(self) -> Fault | None:
        """Return why the process should be restarted, or None."""
        dead = self._leading.dead
        return ("loop_stopped", STOPPED.format(dead)) if dead else None

    def not_ready(self) -> Fault | None:
        """Return why no usage can be kept, or None."""
        fault = self._leading.fault
        return (fault.reason, fault.hint) if fault else self.unhealthy()

    def document(self) -> dict[str, Any]:
        """Return the document of `GET /v1/status`."""
        found, leading = self._leading.summary, self._leading
        faults = [one for one in (leading.fault, leading.queue_fault) if one is not None]
        return {
            "version": sidecar.__version__,
            "service": "saas",
            "since": iso(self._started_at),
            "products": list(self._settings.products),
            "dimensions": [one.name for one in self._settings.common.dimensions],
            "region": self._settings.region,
            "database": _named(self._settings.database_url),
            "leads": leading.leads,
            "faults": [{"reason": one.reason, "hint": one.hint} for one in faults],
            "open_from": iso(found.open_from.start) if found else None,
            "records": {state.value: number for state, number in found.states.items()} if found else {},
            "customers": {state.value: number for state, number in found.customers.items()} if found else {},
            "oldest_unsettled": iso(found.oldest_unsettled.start) if found and found.oldest_unsettled else None,
            "last_settled_at": iso(found.last_settled_at) if found and found.last_settled_at else None,
            "pushes": dict(self._intake.results),
        }

    def metrics(self) -> Sequence[Metric]:
        """Return every metric of the replica."""
        found, leading = self._leading.summary, self._leading
        states = found.states if found else {}
        customers = found.customers if found else {}
        oldest = found.oldest_unsettled if found else None
        late = (self._now() - oldest.end).total_seconds() if oldest else 0.0
        return [
            gauge("saas_leader", "1 on the replica that seals and sends.", leading.leads),
            gauge("saas_database_up", "1 while the database answers.", leading.fault is None),
            Metric(
                name="saas_records",
                kind="gauge",
                help="Usage records of customers, by state.",
                samples=[({"state": one.value}, float(states.get(one, 0))) for one in State],
            ),
            Metric(
                name="saas_customers",
                kind="gauge",
                help="Customers, by the state of their subscription.",
                samples=[({"state": one.value}, float(customers.get(one, 0))) for one in CustomerState],
            ),
            gauge(
                "saas_oldest_unsettled_seconds",
                "Seconds since the end of the oldest hour that AWS has not accepted; 0 where there is none.",
                max(0.0, late),
            ),
            Metric(
                name="saas_pushes_total",
                kind="counter",
                help="Events accepted and duplicate; pushes refused and failed.",
                samples=[({"result": name}, float(number)) for name, number in sorted(self._intake.results.items())],
            ),
            Metric(
                name="saas_decisions_total",
                kind="counter",
                help="What AWS's answers meant for records, since the start.",
                samples=[
                    ({"disposition": name}, float(number)) for name, number in sorted(self._events.dispositions.items())
                ],
            ),
            counter("saas_batches_halved_total", "Calls that AWS refused for one record.", self._events.halvings),
        ]


def _named(url: str) -> str:
    """Return a database's URL without user, password and query."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    return f"{parts.scheme}://{host}{parts.path}"
