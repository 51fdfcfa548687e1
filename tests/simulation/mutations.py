"""Break the real code in one place at a time: what the simulation must find, so that finding nothing means something.

Invariants:
- Each mutation is a mistake that somebody could make, in the product's own function.
- The whole list is caught, each within SEEDS seeds; a test keeps that.
- A bug that the simulation found is kept here as the code was before, not as a seed: what a seed does changes with
  anything that is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from unittest import mock

from sidecar.billing import maintenance, submitter
from sidecar.billing.gate_policy import GatePolicy
from sidecar.billing.maintenance import Maintenance
from sidecar.billing.sealer import Sealer
from sidecar.entitlement import kept_answer, kept_pass
from sidecar.entitlement.hold import Hold
from sidecar.entitlement.registration import Registration
from sidecar.ledger import adoption, pushes, records, sealing, seen_ids, writer
from sidecar.ledger.ledger import Ledger
from sidecar.metering import decide
from sidecar.metering.events import PushAccepted
from sidecar.metering.outcomes import Refused, Unknown
from sidecar.metering.sealed_request import SealedRequest
from sidecar.quick_dataclasses import replace
from tests.simulation.run import Outcome, run

SEEDS = 200
"""Seeds among which each must be caught."""
YEARS = 0.2
"""Of each of them."""
FIRST: Mapping[str, int] = {
    "a lost answer counts as a refusal": 7,
    "what is too late is always counted again": 13,
    "the nonce is not compared": 29,
    "a successor bills what may be billed already": 7,
    "a person's retry forgets that an answer was lost": 13,
    "a full volume does not keep usage out while ids are missing": 21,
    "a disk that fails for a moment has the next pod begin without ids": 21,
    "another workload's kept answer opens the gate": 9,
    "another workload's kept pass opens the gate": 20,
}
"""The seed that found it before, and so is tried first."""

Patch = tuple[object, str, object]


def _drop_carry(*given: Any, **more: Any) -> Any:
    return replace(_roll_up(*given, **more), carry=Decimal(0))


def _lost_is_refused(record: Any, outcome: Any, *rest: Any) -> Any:
    refused = Refused(code=outcome.code, sent=False) if isinstance(outcome, Unknown) else outcome
    return _decide(record, refused, *rest)


def _late_is_certain(record: Any, why: Any) -> Any:
    return _expired(replace(record, definite=True), why)


def _no_nonce(self: Registration) -> Mapping[str, str]:
    return {name: value for name, value in _claims(self).items() if name != "nonce"}


def _another_second(self: SealedRequest, *given: Any, **more: Any) -> dict[str, object]:
    wire = _as_wire(self, *given, **more)
    return {**wire, "Timestamp": self.timestamp - next(_seconds) % 60}


def _adopt_what_may_be_billed(connection: Any, record: Any, ours: str, now: Any) -> None:
    _freeze_record(connection, replace(record, definite=True), ours, now)


def _always_shut(self: GatePolicy, *given: Any) -> None:
    _begin_overdue(self, *given)
    self._set_hold(Hold.METERING_OVERDUE)


def _retry_forgets(record: Any, now: Any) -> Any:
    return replace(_sent_again(record, now), definite=True)


def _sealed_late(self: Sealer, now: datetime, *, at_once: bool = False) -> None:
    _seal_closed(self, now - timedelta(days=2), at_once=at_once)


def _throttled_is_rejected(record: Any, outcome: Any, *rest: Any) -> Any:
    throttled = isinstance(outcome, Refused) and outcome.code == "ThrottlingException"
    return _decide(record, replace(outcome, code="InvalidProductCodeException") if throttled else outcome, *rest)


def _bound_to_any_workload(kind: Any, _workload: str, *rest: Any) -> str:
    return _binding(kind, "", *rest)


def _nothing(*_given: Any, **_more: Any) -> None:
    """Do nothing."""


def _begin_without_ids(self: Maintenance, ledger: Ledger, workload: str, now: datetime) -> None:
    self._adopt(workload, lambda: ledger.neighbours.adopt_recent(now), only_some=True)


_roll_up, _decide, _expired = sealing.roll_up, submitter.decide, decide.expired
_claims, _as_wire, _freeze_record = Registration.expected_claims, SealedRequest.as_wire, adoption._freeze_record
_begin_overdue, _sent_again = GatePolicy._begin_overdue, records.sent_again
_seal_closed, _binding, _seconds = Sealer.seal_closed, kept_pass._binding, count()

MUTATIONS: Mapping[str, tuple[Patch, ...]] = {
    "ids are not looked up": (
        (pushes, "known_ids", lambda connection, requests: {}),
        (seen_ids, "insert", lambda connection, entries: True),
    ),
    "a record is sent before disk has that it is": ((Ledger, "mark_sending", lambda self, batch: None),),
    "what is carried is dropped": ((sealing, "roll_up", _drop_carry),),
    "a lost answer counts as a refusal": ((submitter, "decide", _lost_is_refused),),
    "what is too late is always counted again": ((decide, "expired", _late_is_certain),),
    "the nonce is not compared": ((Registration, "expected_claims", _no_nonce),),
    "a repeat has another timestamp": ((SealedRequest, "as_wire", _another_second),),
    "a successor bills what may be billed already": ((adoption, "_freeze_record", _adopt_what_may_be_billed),),
    "overdue usage shuts the gate whatever is set": ((GatePolicy, "_begin_overdue", _always_shut),),
    "a push is acknowledged though the disk failed": (
        (writer, "unavailable", lambda error: PushAccepted(accepted=1, duplicates=0)),
    ),
    "a person's retry forgets that an answer was lost": ((records, "sent_again", _retry_forgets),),
    "a successor does not learn the ids": ((adoption, "_copy_ids", lambda *given: None),),
    "a full volume does not keep usage out while ids are missing": ((Maintenance, "begin", _begin_without_ids),),
    "a disk that fails for a moment has the next pod begin without ids": ((maintenance, "TRIES", 1),),
    "hours are never sealed": ((Sealer, "seal_closed", _nothing),),
    "hours are sealed two days late": ((Sealer, "seal_closed", _sealed_late),),
    "a throttled record waits for a person": ((submitter, "decide", _throttled_is_rejected),),
    "another workload's kept answer opens the gate": ((kept_answer, "nonce_fits", lambda nonce, workload: True),),
    "another workload's kept pass opens the gate": ((kept_pass, "_binding", _bound_to_any_workload),),
    "open hours of a pod that is gone stay there": ((adoption, "_freeze_usage", _nothing),),
    "what waited in a pod that is gone stays there": ((adoption, "_freeze_waiting", _nothing),),
    "records of a pod that is gone stay there": ((adoption, "_freeze_record", _nothing),),
    "nothing is taken over": ((Maintenance, "run", _nothing),),
}
"""What is wrong, and what of the code is replaced for it."""


@contextmanager
def applied(name: str) -> Iterator[None]:
    """Have the product make this mistake while the block runs."""
    with ExitStack() as stack:
        for target, attribute, replacement in MUTATIONS[name]:
            stack.enter_context(mock.patch.object(target, attribute, replacement))
        yield


def caught(name: str, running: Callable[[int, float], Outcome] = run) -> Outcome | None:
    """Return the first seed that finds the mistake; None where none of them does."""
    with applied(name):
        seeds = [*([FIRST[name]] if name in FIRST else []), *range(1, SEEDS + 1)]
        return next((found for seed in seeds if (found := running(seed, YEARS)).fault), None)
