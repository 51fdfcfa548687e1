"""Decide what the page asks a person to do, from the status document and the records: each with its why and commands.

Invariants:
- What loses or delays money comes first, what only may go wrong later comes last.
- A hint is shown as the sidecar gives it elsewhere; nothing here judges again.
- A command that may bill twice says so beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sidecar.api.page import commands
from sidecar.api.page.commands import Command
from sidecar.api.page.records import RecentRecords
from sidecar.entitlement.contract_end import Stage, stage
from sidecar.entitlement.hold import with_seat_again
from sidecar.metering.decide import why_it_waits
from sidecar.metering.quantities import plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass

FOR_A_PERSON: Final = (State.DISPUTED, State.REJECTED)
DECISIONS_MAX: Final = 3
"""Records with commands of their own; `usage` lists the rest."""

Acts = Sequence[tuple[str, Sequence[str]]]
"""What a person may decide, and the options of `usage retry` for it."""
DISPUTED: Final[Acts] = (
    ("AWS has another quantity, and AWS's is right", ["--accept-aws", "QUANTITY"]),
    ("AWS has it after all: settle it with AWS's metering record id", ["--confirm", "RECORD_ID"]),
    ("The state was lost, and AWS's quantity comes on top: bill this in the open hour in addition", ["--roll-forward"]),
)
REJECTED: Final[Acts] = (
    ("AWS has not billed it, and the cause is mended: send it again", []),
    ("AWS has billed it: settle it with AWS's metering record id", ["--confirm", "RECORD_ID"]),
    ("AWS has not billed it, and it is too late: bill it in the open hour. Twice, if AWS has", ["--roll-forward"]),
)
Orphan = tuple[str, UsageRecord]
"""A workload that is gone, and a record that it left on this volume."""
Document = Mapping[str, Any]
"""The document of `GET /v1/status`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something for a person to look at or to do."""

    title: str
    why: str
    urgent: bool = True
    reason: str = ""
    commands: Sequence[Command] = ()


def gate_commands(status: Document) -> list[Command]:
    """Return what to run about the gate; empty where it is open."""
    gate, workload = status["entitlement"], status["workload"]
    if gate["entitled"]:
        return []
    found = [Command(does="Ask AWS again now", line=commands.line(workload, ["recheck"]))]
    if gate["status"] != "pending":
        found.append(Command(does="Check everything around it", line=commands.line(workload, ["doctor"])))
    if gate["status"] == "misconfigured":
        found.append(Command(does="Show the settings and their sources", line=commands.line(workload, ["settings"])))
    return found


def findings(
    status: Document, recent: RecentRecords, orphans: Sequence[Orphan] = (), *, now: datetime
) -> list[Finding]:
    """Return everything to look at, the most urgent first. `orphans`: records of workloads that are gone."""
    found = [*_loops(status), *_ledger(status), *_overdue(status), *_decisions(status, recent.records, orphans)]
    found += [
        *_seats(status),
        *_contract_end(status, now),
        *_held(status),
        *_sources(status),
        *_metering_hint(status),
        *_unused(status),
        *_unread(status, recent),
        *_cautions(status),
        *_pod(status),
    ]
    return sorted(found, key=lambda one: not one.urgent)


def _loops(status: Document) -> Iterator[Finding]:
    for name, state in status["loops"].items():
        if state != "running":
            why = "It does not run any more. Restart the container; the log event `loop.stopped` says what broke it."
            yield Finding(title=f"The {name} loop has stopped", why=why, reason="loop_stopped")


def _ledger(status: Document) -> Iterator[Finding]:
    metering = status["metering"]
    if metering and metering["ledger"]["reason"]:
        ledger = metering["ledger"]
        yield Finding(title="Usage cannot be stored or read now", why=ledger["hint"], reason=ledger["reason"])


def _overdue(status: Document) -> Iterator[Finding]:
    metering = status["metering"]
    if metering and metering["overdue_since"]:
        since = _when(metering["overdue_since"])
        why = (
            f"Nothing could be reported to AWS since {since}. Usage is kept. MeterUsage takes an hour for six hours;"
            " a license may be drawn later too. The reasons are below, and in the log event `metering.overdue`."
        )
        send = Command(does="Send what waits now", line=commands.line(status["workload"], ["recheck"]))
        yield Finding(title="Metering is overdue", why=why, reason="metering_overdue", commands=[send])


def _decisions(status: Document, records: Sequence[UsageRecord], orphans: Sequence[Orphan]) -> Iterator[Finding]:
    waiting: list[Orphan] = [("", record) for record in records if record.state in FOR_A_PERSON]
    waiting += orphans
    for workload, record in waiting[:DECISIONS_MAX]:
        of_gone = f" of {workload}, which is gone" if workload else ""
        what = f"{record.dimension}, {record.hour.start:%d %b %H:%M} UTC: {plain(record.quantity)} {record.state.value}"
        reason, hint = why_it_waits(record)
        acts = _acts(status, record, workload)
        yield Finding(title=what + of_gone, why=hint, reason=reason, commands=acts)
    if len(waiting) > DECISIONS_MAX:
        every = Command(does="List all records", line=commands.line(status["workload"], ["usage"]))
        title = f"Records that wait for a person besides: {len(waiting) - DECISIONS_MAX}"
        yield Finding(title=title, why="Decide about each of them in the same way.", commands=[every])


def _acts(status: Document, record: UsageRecord, workload: str) -> list[Command]:
    of = ["--workload", workload] if workload else []
    one = [*of, "--hour", f"{record.hour.start:%Y-%m-%dT%H:%M:%SZ}", "--dimension", record.dimension]
    acts = DISPUTED if record.state is State.DISPUTED else REJECTED
    return [
        Command(does=does, line=commands.line(status["workload"], ["usage", "retry", *one, *act]))
        for does, act in acts
        if act or not workload
    ]


def _seats(status: Document) -> Iterator[Finding]:
    licenses = status["licenses"]
    for seat in (licenses or {}).get("seats", ()):
        if seat["lost_at"] and seat["fault"]:
            stays = " The gate stays open meanwhile." if licenses["on_seat_lost"] == "hold" else ""
            why = with_seat_again(seat["fault"]["hint"]) + stays
            ask = Command(does="Ask for it now", line=commands.line(status["workload"], ["recheck"]))
            title = f"The seat {seat['name']} is lost since {_when(seat['lost_at'])}"
            yield Finding(title=title, why=why, reason=seat["fault"]["reason"], commands=[ask])


def _contract_end(status: Document, now: datetime) -> Iterator[Finding]:
    ends_at = (status["licenses"] or {}).get("ends_at")
    if not ends_at or (near := stage(datetime.fromisoformat(ends_at), now)) > Stage.WEEK:
        return
    ended = near is Stage.ENDED
    why = (
        "Renew it in AWS Marketplace; nothing has to be restarted. What runs goes on; after the end no new copy starts."
    )
    title = f"The contract {'ended' if ended else 'ends'} {_when(ends_at)}"
    yield Finding(title=title, why=why, urgent=ended, reason="contract_ended" if ended else "contract_ending")


def _sources(status: Document) -> Iterator[Finding]:
    for source in status["sources"]:
        if source["failing_since"]:
            title = f"No usage is pulled from {source['source']} since {_when(source['failing_since'])}"
            yield Finding(title=title, why=source["hint"], urgent=False, reason=source["reason"])


def _held(status: Document) -> Iterator[Finding]:
    for held in (status["metering"] or {}).get("held", ()):
        send = Command(does="Send it now", line=commands.line(status["workload"], ["recheck"]))
        title = f"AWS answers {held['aws_error']}; the oldest such hour is {_when(held['oldest_hour'])}"
        yield Finding(title=title, why=held["hint"], urgent=False, reason=held["reason"], commands=[send])


def _metering_hint(status: Document) -> Iterator[Finding]:
    metering = status["metering"]
    if metering and metering["hint"]:
        yield Finding(title="Usage waits for a person", why=metering["hint"])


def _unused(status: Document) -> Iterator[Finding]:
    if status["unused_ledgers"]:
        why = f"{', '.join(status['unused_ledgers'])}. Set SIDECAR_DIMENSIONS as it was, to have that usage billed."
        yield Finding(title="No dimension is set, and usage in older ledgers is not billed", why=why)


def _unread(status: Document, recent: RecentRecords) -> Iterator[Finding]:
    metering = status["metering"]
    if recent.reason and not (metering and metering["ledger"]["reason"]):
        yield Finding(title="Records cannot be read now", why=recent.hint, reason=recent.reason)


def _cautions(status: Document) -> Iterator[Finding]:
    gate, aws = status["entitlement"], status["aws"]
    if gate["kept_answer"]:
        why = "AWS could not be asked since the restart, so an answer that was kept on disk opened the gate."
        yield Finding(title="The gate is open on a kept answer", why=why, urgent=False, reason="kept_answer")
    if gate["public_key_superseded_at"]:
        why = "AWS has rotated this key: the seller should ship an image with the newer version."
        title = f"Public key version {gate['public_key_version']} is superseded"
        yield Finding(title=title, why=why, urgent=False)
    if gate["public_key_weak_bits"]:
        title = f"The public key has {gate['public_key_weak_bits']} bits"
        yield Finding(
            title=title, why="A key below 2048 bits is weak; AWS Marketplace issues longer ones.", urgent=False
        )
    for title, name in (
        ("Sources of the region disagree", "region_disagreement"),
        ("AWS may refuse these credentials", "credential_caution"),
    ):
        if aws[name]:
            yield Finding(title=title, why=str(aws[name]), urgent=False)


def _pod(status: Document) -> Iterator[Finding]:
    kubernetes = status["kubernetes"]
    if not kubernetes:
        return
    if not kubernetes["reachable"]:
        why = "The pod's condition is not written meanwhile. Gate and metering do not depend on it."
        yield Finding(title="The Kubernetes API does not answer", why=why, urgent=False)
    for one in kubernetes["refused"]:
        title = " ".join(str(part) for part in ("The Kubernetes API refuses", one["verb"], one["resource"]) if part)
        yield Finding(title=title, why=one["hint"], urgent=False)


def _when(text: str) -> str:
    return f"{datetime.fromisoformat(text):%d %b %H:%M} UTC"


def still_waiting(records: Iterable[UsageRecord]) -> list[UsageRecord]:
    """Return the records that AWS has neither accepted nor that are counted in a later hour, the oldest first."""
    over = (State.SETTLED, State.ROLLED_FORWARD, State.OPEN)
    return [record for record in records if record.state not in over]
