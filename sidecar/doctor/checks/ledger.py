"""Check the ledgers in the state directory: whether they open, are intact, and what waits in them.

Each is copied and the copy is read: a sidecar that has one open is not disturbed, and nothing is changed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from sidecar.clock import iso
from sidecar.doctor.checks.state_dir import MEMORY, kind_of
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.errors import SettingsError
from sidecar.ledger import inspection, kept_file, volume
from sidecar.ledger.errors import REASONS, LedgerError
from sidecar.ledger.inspection import Inspection
from sidecar.metering.hours import use_short_periods
from sidecar.metering.quantities import plain
from sidecar.metering.states import State
from sidecar.platform import eks, identity
from sidecar.settings import Platform, Settings

RULE: Final = "Every ledger in SIDECAR_STATE_DIR opens and is intact, and no usage in it waits for a person."
DAMAGED: Final = "a ledger is damaged"
NEWER: Final = "a newer version wrote a ledger"
ANOTHER: Final = "the ledger is of another product or region"
UNREADABLE: Final = "a ledger cannot be opened"
UNBALANCED: Final = "a ledger does not add up"
IN_DOUBT: Final = "the last commit of a ledger is not whole"
PERSON: Final = "records wait for a person"
LATE: Final = "usage waits longer than it should"
NO_DIMENSION: Final = "usage waits, and no dimension is set"
NO_ROOM: Final = "there is no room for a copy to read"
FIXES: Final[Mapping[str, str]] = {
    DAMAGED: "Copy {path} with its -wal file away for the seller's support: the next start sets it aside, deletes"
    " nothing, begins a new one, and bills nothing from this one.",
    NEWER: "Run the newer version of the image again to settle what is in {path}; this version leaves it as it is.",
    ANOTHER: "Give each product and region its own SIDECAR_STATE_DIR, or correct SIDECAR_PRODUCT_CODE and AWS_REGION:"
    " {path} is for {owner}.",
    UNREADABLE: "{hint}",
    UNBALANCED: "Keep {path} and send the output of `entitlement-sidecar usage export` to the seller's support.",
    IN_DOUBT: "Compare the end of the product's own usage with `entitlement-sidecar usage`: the last push may be"
    " missing in {path}; pushed again with the same ids it counts once.",
    PERSON: "entitlement-sidecar usage shows them; then entitlement-sidecar usage retry --hour H --dimension D"
    " (--workload W for another workload) with one of --confirm RECORD_ID, --accept-aws QUANTITY, --roll-forward.",
    LATE: "Mend what this report finds on the way to AWS; `entitlement-sidecar usage` has AWS's last answer for each"
    " record. MeterUsage accepts an hour for six hours; a license may be drawn later too.",
    NO_DIMENSION: "Set SIDECAR_DIMENSIONS to the dimensions again until what waits in {path} is billed.",
    NO_ROOM: "Free space in {path} or in TMPDIR, and run this again.",
}
FOR_A_PERSON: Final = (State.DISPUTED, State.REJECTED)
LEDGERS_MAX: Final = 20
"""Of other workloads; an old volume may have many."""


def check(context: Context) -> Finding:
    """Return what is in this workload's ledger, and in those of others on the volume."""
    settings = context.settings
    if settings is None or not os.path.isdir(settings.state_dir):
        return skipped(RULE, "there is no directory yet (state_dir)")
    if settings.platform is Platform.AGENTCORE:
        use_short_periods()  # as `run` does; nothing else in this process counts hours
    own = own_ledger(context, settings)
    paths = sorted(volume.other_ledgers(settings.state_dir / "none"), key=lambda path: not _is(own, path))
    if not paths and not settings.dimensions:
        return skipped(RULE, "no dimension is set and there is no ledger: nothing is metered")
    if not paths:
        return passed(RULE, f"{settings.state_dir}: no ledger yet; `run` begins one")
    parts = [_one(context, settings, path, _is(own, path)) for path in paths[: LEDGERS_MAX + 1]]
    if len(paths) > len(parts):
        parts.append(passed(RULE, f"{len(paths) - len(parts)} more were not opened"))
    return Finding.summed_up(RULE, parts)


def _is(own: Path | None, path: Path) -> bool:
    """Return whether a ledger is this workload's, also the one that was begun beside a newer version's."""
    return own is not None and (path == own or path.name.startswith(f"{own.stem}.v"))


def own_ledger(context: Context, settings: Settings) -> Path | None:
    """Return where this workload's ledger is; None where the workload is not known."""

    def spare() -> str:
        return (kept_file.read(settings.state_dir / kept_file.SPARE_ID) or "").strip()

    try:
        pod = eks.bound_pod(context.env, context.tokens)
        workload = identity.identify_workload(pod, context.task, settings.workload_id, spare)
    except (SettingsError, OSError):
        return None
    return volume.ledger_path(settings.state_dir, workload.id) if workload.id else None


def _one(context: Context, settings: Settings, path: Path, own: bool) -> Finding:
    try:
        found = _inspected(path, settings.state_dir, context.marketplace_now())
    except LedgerError as exc:
        return _unreadable(path, exc, own)
    return _judged(context, settings, found, own)


def _inspected(path: Path, state_dir: Path, now: datetime) -> Inspection:
    """Inspect a ledger with the help of the first directory that has room for a copy. Raises LedgerError."""
    fault: LedgerError | None = None
    for parent in _places(state_dir):
        try:
            with tempfile.TemporaryDirectory(dir=parent, prefix=".doctor-") as directory:
                return inspection.inspect(path, Path(directory), now)
        except OSError as exc:
            fault = fault or LedgerError("ledger_full", f"no copy could be made: {exc.strerror}.")
        except LedgerError as exc:
            if exc.reason != "ledger_full":
                raise
            fault = exc
    assert fault
    raise fault


def _places(state_dir: Path) -> list[Path]:
    """Return where a copy may be, the best first: a copy in memory would count against the container's limit."""
    try:
        places = [Path(tempfile.gettempdir()), state_dir]
    except FileNotFoundError:  # nothing but the state directory can be written
        return [state_dir]
    return sorted(places, key=lambda place: kind_of(place) in MEMORY)


def _unreadable(path: Path, exc: LedgerError, own: bool) -> Finding:
    seen = f"{_name(path, own)}: {exc.detail or exc.reason}"
    if exc.reason == "ledger_newer_schema":
        return warned(RULE, seen, FIXES[NEWER].format(path=path))
    if exc.reason == "ledger_full":
        return warned(RULE, seen, FIXES[NO_ROOM].format(path=path.parent))
    if exc.reason == "ledger_corrupt":
        fix = FIXES[DAMAGED].format(path=path)
    else:
        fix = FIXES[UNREADABLE].format(hint=REASONS[exc.reason])
    return _wrong(own, seen, fix)


def _wrong(own: bool, seen: str, fix: str) -> Finding:
    """Return a failure for this workload's ledger; what is wrong with another's keeps this sidecar from nothing."""
    return failed(RULE, seen, fix) if own else warned(RULE, seen, fix)


def _judged(context: Context, settings: Settings, found: Inspection, own: bool) -> Finding:
    seen, path, owner = f"{_name(found.path, own)}: {_contents(found)}", found.path, found.owner
    if owner is None or found.summary is None:
        return passed(RULE, seen)
    region = context.region.name if context.region and owner.region else owner.region  # empty: not known when it began
    if own and (owner.product_code not in (settings.product, settings.product_sku) or owner.region != region):
        of = f"{owner.product_code} in {owner.region}"
        return failed(RULE, f"{seen}; it is for {of}", FIXES[ANOTHER].format(path=path, owner=of))
    if not all(one.balanced for one in found.balances):
        return _wrong(own, f"{seen}; it does not add up", FIXES[UNBALANCED].format(path=path))
    if any(found.summary.states.get(state) for state in FOR_A_PERSON):
        return warned(RULE, seen, FIXES[PERSON])
    if found.in_doubt:
        return warned(RULE, f"{seen}; its last commit is not whole", FIXES[IN_DOUBT].format(path=path))
    if not settings.dimensions and any(one.waiting for one in found.balances):
        return warned(RULE, seen, FIXES[NO_DIMENSION].format(path=path))
    if own and _is_late(found, settings, context.marketplace_now()):
        return warned(RULE, seen, FIXES[LATE])
    return passed(RULE, seen)


def _is_late(found: Inspection, settings: Settings, now: datetime) -> bool:
    oldest = found.summary.oldest_unsettled if found.summary else None
    return oldest is not None and (now - oldest.end).total_seconds() > settings.metering_overdue_seconds


def _name(path: Path, own: bool) -> str:
    return f"{path.name} ({'this workload' if own else 'another workload'})"


def _contents(found: Inspection) -> str:
    """Return size, holder, records by state, and for each dimension what was accepted and what waits."""
    parts = [f"{found.bytes // 1024} KiB", f"open in {found.holder}" if found.holder else "not open here"]
    if found.summary is None:
        return ", ".join([*parts, "nothing in it"])
    records = ", ".join(f"{count} {state.value}" for state, count in found.summary.states.items() if count)
    text = f"{', '.join(parts)}, intact; records: {records or 'none'}"
    for one in found.balances:
        text += f"; {one.dimension}: {plain(one.accepted)} accepted, {plain(one.waiting)} waiting"
    oldest = found.summary.oldest_unsettled
    return text + (f"; oldest unsettled hour {iso(oldest.start)}" if oldest else "")
