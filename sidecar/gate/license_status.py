"""Describe licenses and seats: `licenses` of the status document, `GET /v1/entitlements`, and the metrics.

Invariants:
- What is shown is what loop and gate have in memory; nothing here waits, and nothing shown holds a token.
- The product is told what it may use now: nothing while the gate is shut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sidecar.api.metrics import Metric, counter, gauge
from sidecar.clock import iso
from sidecar.gate.license_loop import LicenseLoop
from sidecar.gate.loop import EntitlementLoop
from sidecar.settings import Settings, Take


def document(loop: LicenseLoop, gate: EntitlementLoop, settings: Settings) -> Mapping[str, object]:
    """Return `licenses` of `GET /v1/status`."""
    term = loop.term
    return {
        "product_sku": settings.product_sku,
        "license_arn": _arn(loop, gate),
        "ends_at": iso(term.ends_at) if term.ends_at else None,
        "end_unknown": term.unknown,
        "granted": [{name: one[name] for name in ("name", "unit", "value", "take")} for one in gate.result.granted],
        "on_seat_lost": settings.on_seat_lost.value,
        "seats": [one.as_json() for one in loop.keeper.seats.all],
    }


def entitlements(loop: LicenseLoop, gate: EntitlementLoop, settings: Settings) -> Mapping[str, object]:
    """Return the document of `GET /v1/entitlements`."""
    if not gate.state.entitled:
        return {"entitlements": [], "license_arn": None}
    ends_at, seats = loop.term.ends_at, {one.held.key: one for one in loop.keeper.seats.all}
    found = []
    for one in gate.result.granted:
        seat = seats.get((one["name"], one["unit"], one["value"])) if one["take"] == Take.SEAT.value else None
        found.append(_entitlement(one, seat.state.expires_at if seat else ends_at))
    drawn = [one for one in settings.licenses if one.take is Take.DRAWDOWN]
    found += [
        _entitlement({"name": one.name, "unit": one.unit, "value": one.value, "take": one.take.value}, ends_at)
        for one in drawn
    ]
    return {"entitlements": found, "license_arn": _arn(loop, gate)}


def metrics(loop: LicenseLoop) -> Sequence[Metric]:
    """Return the metrics of seats and of the contract's end."""
    keeper, term = loop.keeper, loop.term
    seats = keeper.seats.all
    found = [
        gauge("seats_held", "Seats that this workload holds.", len(seats) - len(keeper.seats.lost)),
        gauge("seats_lost", "Seats that it should hold and does not.", len(keeper.seats.lost)),
        counter("seats_lost_total", "Times that a seat was lost.", keeper.losses),
        Metric(
            name="seat_renewals_total",
            kind="counter",
            help="Attempts to keep a seat, by what came of them.",
            samples=[({"outcome": name}, float(count)) for name, count in keeper.counts.items()],
        ),
    ]
    if seats:
        earliest = min(one.state.expires_at for one in seats)
        found.append(gauge("seat_expires_timestamp_seconds", "When the first seat expires.", earliest.timestamp()))
    if term.ends_at:
        found.append(
            gauge(
                "contract_ends_timestamp_seconds", "When the contract ends, where AWS tells.", term.ends_at.timestamp()
            )
        )
    return found


def _entitlement(one: Mapping[str, str], expires_at: datetime | None) -> Mapping[str, object]:
    return {
        "name": one["name"],
        "unit": one["unit"],
        "value": one["value"] or None,
        "take": one["take"],
        "expires_at": iso(expires_at) if expires_at else None,
    }


def _arn(loop: LicenseLoop, gate: EntitlementLoop) -> str | None:
    named = (one["license_arn"] for one in gate.result.granted)
    return loop.term.license_arn or next((one for one in named if one), None)
