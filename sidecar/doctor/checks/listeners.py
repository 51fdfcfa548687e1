"""Check whether a sidecar answers on both listeners and what it shows, or whether their ports are free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from sidecar.api.reply import API
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.entitlement.contract_end import Stage, stage
from sidecar.entitlement.hold import with_seat_again
from sidecar.errors import SettingsError
from sidecar.printable import one_line
from sidecar.server import listeners
from sidecar.settings import Settings, UnixSocket

RULE: Final = (
    "One sidecar answers on the probe listener and on the product's listener, its gate is open, it holds its seats and"
    " reads its sources; where none runs, both ports are free."
)
TAKEN: Final = "a port is taken, or cannot be listened on"
HALF: Final = "only one of the listeners answers"
OTHER: Final = "the sidecar of another product answers"
STOPPED: Final = "a loop of the sidecar has stopped"
SHUT: Final = "the gate is shut"
PENDING: Final = "the gate is not open yet"
OVERDUE: Final = "usage is overdue"
WAITS: Final = "AWS does not take usage yet"
SEAT: Final = "a seat is lost"
SOURCE: Final = "a source cannot be read"
ENDED: Final = "the contract has ended"
FIXES: Final[Mapping[str, str]] = {
    TAKEN: "Stop what listens there (`ss -lxtnp` on the node, or in a shared network namespace), or set {settings} to"
    " another address, and change the product and the probes to match.",
    HALF: "Compare SIDECAR_PROBE_BIND, SIDECAR_API_BIND and SIDECAR_API_TOKEN_FILE here with those of the sidecar that"
    " runs; where they agree, restart its container.",
    OTHER: "Give this sidecar other ports (SIDECAR_PROBE_BIND, SIDECAR_API_BIND), or correct SIDECAR_PRODUCT_CODE.",
    STOPPED: "Restart the container, and keep its log for the product's vendor: it says why.",
    SHUT: "{hint}",
    PENDING: "{hint}",
    OVERDUE: "entitlement-sidecar usage shows what AWS answers for each record. {hint}",
    WAITS: "{hint}",
    SEAT: "{hint}",
    SOURCE: "{hint}",
    ENDED: "Renew it in AWS Marketplace; nothing has to be restarted. What runs goes on, but no new copy starts.",
}


def check(context: Context) -> Finding:
    """Return what answers on the two listeners."""
    settings = context.settings
    if settings is None:
        return skipped(RULE, "not checked: the settings do not name them")
    try:
        gate, gate_fault = dict(context.read_gate()[1]), ""
    except (OSError, ValueError, SettingsError) as exc:
        gate, gate_fault = {}, one_line(str(exc))
    running = context.running
    if not gate and running.status is None:
        return _nothing_runs(settings, gate_fault)
    if not gate or "entitled" not in gate:
        return failed(RULE, f"only the product's listener answers; probe: {gate_fault or 'no gate'}", FIXES[HALF])
    if running.status is None:
        return failed(RULE, f"only the probe listener answers; product's: {running.fault}", FIXES[HALF])
    return _runs(settings, gate, running.status, context.marketplace_now)


def _nothing_runs(settings: Settings, fault: str) -> Finding:
    """Return whether the ports are free. They are bound for a moment, which keeps no sidecar from starting."""
    try:
        bound = listeners.listen(settings, backlog=None)
    except SettingsError as exc:
        names = " or ".join(dict.fromkeys(problem.setting for problem in exc.problems))
        seen = f"no sidecar answers ({fault}), and " + "; ".join(map(str, exc.problems))
        return failed(RULE, seen, FIXES[TAKEN].format(settings=names))
    sockets = (f"{API} {one}" for one in settings.api_bind if isinstance(one, UnixSocket))
    addresses = ", ".join([*(f"{one.name} {one.address}" for one in bound), *sockets])
    listeners.close(bound)
    return passed(RULE, f"no sidecar runs here, and the ports are free: {addresses}")


def _runs(
    settings: Settings, gate: Mapping[str, object], status: Mapping[str, object], now: Callable[[], datetime]
) -> Finding:
    shown, hint = str(gate.get("status")), one_line(str(gate.get("hint")))
    seen = f"sidecar {status.get('version')}, since {status.get('started_at')}: {shown} ({gate.get('reason')})"
    if gate.get("product_code") != settings.product_code:
        return failed(RULE, f"{seen}, of product {gate.get('product_code')}", FIXES[OTHER])
    loops = status.get("loops")
    stopped = [name for name, state in loops.items() if state != "running"] if isinstance(loops, dict) else []
    if stopped:
        return failed(RULE, f"{seen}; stopped: {', '.join(stopped)}", FIXES[STOPPED])
    if shown == "pending":
        return warned(RULE, seen, FIXES[PENDING].format(hint=hint))
    if gate.get("entitled") is not True:
        return failed(RULE, seen, FIXES[SHUT].format(hint=hint))
    cautions = [*_unsettled(gate, status), *_lost_seats(status), *_contract_end(status, now)]
    cautions += _failing_sources(status)
    if cautions:
        return warned(RULE, "; ".join([seen, *(what for what, _ in cautions)]), "\n".join(fix for _, fix in cautions))
    return passed(RULE, seen)


# -- what goes wrong behind an open gate: what is seen, and the fix


def _unsettled(gate: Mapping[str, object], status: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    held = _objects(_part(status, "metering").get("held"))
    hints = [one_line(str(one.get("hint"))) for one in held]
    if since := gate.get("metering_overdue_since"):
        yield f"usage is overdue since {since}", FIXES[OVERDUE].format(hint=" ".join(hints)).strip()
        return
    for one, hint in zip(held, hints, strict=True):
        what = f"usage waits since the hour {one.get('oldest_hour')} ({one.get('reason')})"
        yield what, FIXES[WAITS].format(hint=hint)


def _lost_seats(status: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for seat in _objects(_part(status, "licenses").get("seats")):
        fault = seat.get("fault")
        if seat.get("lost_at") and isinstance(fault, dict):
            hint = with_seat_again(one_line(str(fault.get("hint"))))
            yield f"seat {seat.get('name')} is lost ({fault.get('reason')})", FIXES[SEAT].format(hint=hint)


def _contract_end(status: Mapping[str, object], now: Callable[[], datetime]) -> Iterator[tuple[str, str]]:
    ends_at = _part(status, "licenses").get("ends_at")
    if isinstance(ends_at, str) and stage(datetime.fromisoformat(ends_at), now()) is Stage.ENDED:
        yield f"the contract ended at {ends_at}", FIXES[ENDED]


def _failing_sources(status: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for source in _objects(status.get("sources")):
        if since := source.get("failing_since"):
            what = f"source {source.get('source')} fails since {since} ({source.get('reason')})"
            yield what, FIXES[SOURCE].format(hint=one_line(str(source.get("hint"))))


def _part(status: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a part of the status document; an empty one where it is null, or another version has none."""
    found = status.get(name)
    return found if isinstance(found, dict) else {}


def _objects(listed: object) -> list[Mapping[str, object]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
