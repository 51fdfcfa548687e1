"""Derive the pod's condition and events from what the gate and usage show.

Invariants:
- The condition follows the gate, with the state's reason in CamelCase and its hint as message.
- Nothing is reported of the gate before the first answer: a condition that is missing counts as False, and one that an
  earlier container of this pod left True is not changed while AWS is being asked.
- An event is a difference between the last reported snapshot and the present one. What came and went in between is in
  the log.
- A transient failure that changes its reason is no event; a denial or a mistake that does is one.

Sources: Kubernetes API conventions, "Events" and "Typical status properties" (CamelCase reasons).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sidecar.entitlement.contract_end import Stage
from sidecar.entitlement.status import GateState, Status
from sidecar.metering.states import State
from sidecar.pod_status.types import Condition, PodEvent
from sidecar.quick_dataclasses import dataclass, field

ENTITLED: Final = "Entitled"
NOT_ENTITLED: Final = "NotEntitled"
MISCONFIGURED: Final = "EntitlementMisconfigured"
UNAVAILABLE: Final = "EntitlementUnavailable"
SUPERSEDED: Final = "PublicKeySuperseded"
WAITING: Final = "UsageWaiting"
OVERDUE: Final = "MeteringOverdue"
RECOVERED: Final = "MeteringRecovered"
SEAT_LOST: Final = "SeatLost"
SEAT_TAKEN_AGAIN: Final = "SeatTakenAgain"
CONTRACT_ENDING: Final = "ContractEnding"
CONTRACT_ENDED: Final = "ContractEnded"

MEANINGS: Final[Mapping[str, str]] = {
    ENTITLED: "the gate opened",
    NOT_ENTITLED: "AWS says no, or its answer does not verify; again with every other reason",
    MISCONFIGURED: "a person must change something; again with every other reason",
    UNAVAILABLE: "AWS cannot be asked for longer than `SIDECAR_STARTUP_RETRY_SECONDS`, or overdue usage or a lost"
    " seat shut the gate",
    SUPERSEDED: "AWS has rotated the public key that this image ships",
    WAITING: "more usage records than before are rejected or disputed and wait for a person",
    OVERDUE: "no usage could be reported for `SIDECAR_METERING_OVERDUE_SECONDS`",
    RECOVERED: "usage can be reported again",
    SEAT_LOST: "a seat of the contract is held no more; more of them than before",
    SEAT_TAKEN_AGAIN: "every seat of the contract is held again",
    CONTRACT_ENDING: "the contract ends within 30, 7 or 1 days, each once",
    CONTRACT_ENDED: "the contract has ended, as far as AWS tells",
}
"""Reason of an event → what it means; docs/reference/pod-events.md has the table."""
NORMAL: Final = frozenset({ENTITLED, RECOVERED, SEAT_TAKEN_AGAIN})
"""The others are warnings."""

OF_STATUS: Final[Mapping[str, str]] = {
    Status.ENTITLED.value: ENTITLED,
    Status.DENIED.value: NOT_ENTITLED,
    Status.MISCONFIGURED.value: MISCONFIGURED,
    Status.UNAVAILABLE.value: UNAVAILABLE,
}
"""A gate that is pending is none."""
WITH_EVERY_REASON: Final = frozenset({Status.DENIED.value, Status.MISCONFIGURED.value})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that is written, as plain values. Two are equal where there is nothing new to tell."""

    answered: bool = False
    """Whether AWS was asked, or failed to be, at least once."""
    status: str = Status.PENDING.value
    reason: str = ""
    hint: str = field(default="", compare=False)
    superseded_version: int | None = None
    rejected: int = 0
    disputed: int = 0
    overdue: bool = False
    seats_lost: int = 0
    contract_days: int | None = None
    """Within how many days the contract ends, as a stage; 0: it has ended; None: no contract is checked."""

    @property
    def entitled(self) -> bool:
        return self.status == Status.ENTITLED.value


def snapshot(
    state: GateState,
    superseded_version: int | None,
    for_a_person: Mapping[str, int],
    overdue: bool,
    contract: tuple[int, int] | None = None,
) -> Snapshot:
    """Return what there is to report now. `superseded_version`: the public key version that AWS has rotated.

    `contract`: how many seats are lost, and within how many days the contract ends.
    """
    seats_lost, days = contract or (0, None)
    return Snapshot(
        answered=state.checked_at is not None,
        status=state.status.value,
        reason=state.reason,
        hint=state.hint,
        superseded_version=superseded_version,
        rejected=for_a_person.get(State.REJECTED.value, 0),
        disputed=for_a_person.get(State.DISPUTED.value, 0),
        overdue=overdue,
        seats_lost=seats_lost,
        contract_days=days,
    )


def condition(now: Snapshot) -> Condition | None:
    """Return what the pod's condition is to say; None before the first answer."""
    if not now.answered:
        return None
    return Condition(status=now.entitled, reason=camel_case(now.reason), message=now.hint)


def events_between(written: Snapshot, now: Snapshot) -> Sequence[PodEvent]:
    """Return what happened since `written`."""
    found = [_gate(written, now)] if now.answered else []
    if now.superseded_version is not None and now.superseded_version != written.superseded_version:
        note = (
            f"AWS has rotated public key version {now.superseded_version}: the seller should ship an image with the"
            " newer one."
        )
        found.append(_event(SUPERSEDED, note))
    if now.rejected > written.rejected or now.disputed > written.disputed:
        note = (
            f"Usage records that wait for a person: {now.rejected} rejected, {now.disputed} disputed. See"
            " `entitlement-sidecar usage`, then decide with `entitlement-sidecar usage retry`."
        )
        found.append(_event(WAITING, note))
    if now.overdue and not written.overdue:
        note = "No usage could be reported to AWS for too long: AWS does not take it, or the ledger cannot be written."
        found.append(_event(OVERDUE, f"{note} The log's `metering.overdue` says what to do."))
    if written.overdue and not now.overdue:
        found.append(_event(RECOVERED, "Usage can be reported again."))
    return [one for one in [*found, *_contract(written, now)] if one is not None]


def _contract(written: Snapshot, now: Snapshot) -> list[PodEvent]:
    found = []
    if now.seats_lost > written.seats_lost:
        note = f"Seats of the contract that are lost: {now.seats_lost}. The log's `seat.lost` says why and what to do."
        found.append(_event(SEAT_LOST, note))
    if written.seats_lost and not now.seats_lost:
        found.append(_event(SEAT_TAKEN_AGAIN, "Every seat of the contract is held again."))
    days, before = now.contract_days, written.contract_days
    if days is not None and days != before and days <= Stage.MONTH and (before is None or days < before):
        text = f"The contract ends within {days} days." if days else "The contract has ended."
        note = f"{text} Renew it in AWS Marketplace; `licenses.ends_at` in `GET /v1/status` has the date."
        found.append(_event(CONTRACT_ENDING if days else CONTRACT_ENDED, note, key=str(days)))
    return found


def _gate(written: Snapshot, now: Snapshot) -> PodEvent | None:
    turned = now.status != written.status
    other = now.status in WITH_EVERY_REASON and now.reason != written.reason
    reason = OF_STATUS.get(now.status)
    if reason is None or not (turned or other):
        return None
    return _event(reason, f"{now.reason}: {now.hint}", key=now.reason)


def _event(reason: str, note: str, key: str = "") -> PodEvent:
    return PodEvent(reason=reason, note=note, warning=reason not in NORMAL, key=key)


def camel_case(reason: str) -> str:
    """`customer_not_entitled` → `CustomerNotEntitled`."""
    return "".join(word[:1].upper() + word[1:] for word in reason.split("_"))
