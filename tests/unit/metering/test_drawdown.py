"""What is drawn from a license is sealed whole, and never repeated once it may have been drawn."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from sidecar.metering.decide import OUTCOME_UNKNOWN, Decision, Policy, decide, decide_if_late, why_it_waits
from sidecar.metering.drawdown import Drawdown
from sidecar.metering.hours import Hour
from sidecar.metering.license_dispositions import qualified
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.records import UsageRecord, drawn, kind, sent_again
from sidecar.metering.rollup import Allocation, Owed
from sidecar.metering.schedule import unsendable
from sidecar.metering.sealed_request import Repair, SealedRequest, seal_drawdown, seal_request
from sidecar.metering.states import Disposition, State
from sidecar.quick_dataclasses import replace

HOUR = Hour.numbered(498_658)
NOW = HOUR.end + timedelta(minutes=5)
POOL = Drawdown(sku="prod-4kq7example2x", name="pages", unit="Count")
POLICY = Policy(workload="pod-1")


def owed(quantity: str) -> Owed:
    return Owed(quantity=Decimal(quantity), allocations=(), carry=Decimal(0), merged=0)


def request(quantity: str = "7", token: str = "a" * 32) -> SealedRequest:
    return seal_drawdown("", "pages", POOL, HOUR, owed(quantity), HOUR.end, token)


def record(**fields: object) -> UsageRecord:
    sealed = UsageRecord(
        hour=HOUR, dimension="pages", state=State.SEALED, quantity=Decimal(7), request=request(), retry_at=NOW
    )
    return replace(sealed, **fields)  # type: ignore[arg-type]


def answer(outcome: Outcome, to: UsageRecord | None = None, now: datetime = NOW) -> Decision:
    return decide(to or record(), outcome, now, POLICY, 0.5)


def test_a_drawdown_survives_the_disk_to_the_byte() -> None:
    kept = SealedRequest.from_json(request().as_json())
    assert kept == request()
    assert kept.as_json() == request().as_json()
    assert (kept.drawdown, kept.client_token, kept.quantity) == (POOL, "a" * 32, "7")


def test_a_drawdown_is_never_a_metering_call() -> None:
    with pytest.raises(ValueError, match="drawn from the license pages"):
        request().as_wire(decimal_fields=True)


@pytest.mark.parametrize("quantity", ["0", "1.5", "2147483648"])
def test_what_a_pool_cannot_count_is_not_sealed(quantity: str) -> None:
    """A value of 0 would ask for what is not limited."""
    with pytest.raises(ValueError, match="no whole quantity above 0"):
        request(quantity)


def test_a_drawdown_has_nothing_to_repair_but_its_token() -> None:
    assert [one for one in Repair if request().changed_by(one)] == [Repair.NEW_TOKEN]


def test_a_record_says_how_it_is_billed_once_it_is_sealed() -> None:
    metered = seal_request("pod-1", "code", "pages", 0, HOUR, owed("7"), HOUR.end)
    assert (drawn(record()), kind(record())) == (True, "drawdown")
    assert (drawn(record(request=metered)), kind(record(request=metered))) == (False, "meter_usage")
    assert kind(record(request=None, state=State.OPEN)) is None


def test_a_receipt_settles() -> None:
    assert answer(Settled(record_id="r-1")).record.state is State.SETTLED


@pytest.mark.parametrize("code", ["ReadTimeoutError", "503", "child_failed", "ServerInternalException", "SomethingNew"])
def test_an_unknown_outcome_waits_for_a_person_at_once(code: str) -> None:
    decision = answer(Unknown(code=code))
    assert (decision.disposition, decision.reason, decision.code) == (Disposition.REJECT, "outcome_unknown", code)
    assert (decision.record.state, decision.record.last_error) == (State.REJECTED, "outcome_unknown")
    assert not decision.record.definite
    assert not decision.roll_forward
    assert "CloudTrail" in decision.hint


def test_a_new_refusal_of_aws_is_no_proof_that_nothing_was_drawn() -> None:
    assert answer(Refused(code="SomethingNewException")).record.state is State.REJECTED


@pytest.mark.parametrize(
    ("code", "loud"),
    [("NoEntitlementsAllowedException", True), ("AccessDeniedException", False), ("RateLimitExceededException", False)],
)
def test_a_definite_refusal_is_held_with_its_token(code: str, loud: bool) -> None:
    decision = answer(Refused(code=qualified(code)))
    assert (decision.disposition, decision.loud) == (Disposition.HOLD, loud)
    assert decision.record.request == request()
    assert decision.record.definite
    assert decision.record.retry_at


@pytest.mark.parametrize("days", [1, 40])
def test_a_drawdown_is_never_too_late(days: int) -> None:
    now = NOW + timedelta(days=days)
    assert not unsendable(record(), now)
    assert decide_if_late(record(), now) is None
    metered = record(request=seal_request("pod-1", "code", "pages", 0, HOUR, owed("7"), HOUR.end))
    assert unsendable(metered, now)


def test_an_interrupted_sending_is_not_repeated_without_a_person() -> None:
    cut_off = record(interrupted=True, definite=False)
    decision = decide_if_late(cut_off, NOW)
    assert decision
    assert (decision.record.state, decision.record.last_error) == (State.REJECTED, "outcome_unknown")
    again = sent_again(replace(decision.record, interrupted=False), NOW)
    assert not unsendable(again, NOW), "a person wants it"
    assert again.request == cut_off.request


def test_an_interrupted_metering_call_is_repeated() -> None:
    metered = seal_request("pod-1", "code", "pages", 0, HOUR, owed("7"), HOUR.end)
    assert not unsendable(record(request=metered, interrupted=True, definite=False), NOW)


def test_shares_are_not_drawn() -> None:
    split = replace(owed("7"), allocations=(Allocation(tags=(("t", "a"),), quantity=Decimal(7)),))
    assert seal_drawdown("", "pages", POOL, HOUR, split, HOUR.end, "t").allocations == ()


@pytest.mark.parametrize(
    ("last_error", "reason", "word"),
    [
        ("outcome_unknown", "outcome_unknown", "CheckoutLicense"),
        ("NoEntitlementsAllowedException", "license_used_up", "Buy or renew"),
        ("SomethingNew", "unknown_error", "does not know"),
    ],
)
def test_a_person_reads_why_a_drawdown_waits(last_error: str, reason: str, word: str) -> None:
    found = why_it_waits(record(last_error=last_error))
    assert found[0] == reason
    assert word in found[1]


def test_a_metered_hour_with_an_unknown_outcome_is_explained_too() -> None:
    metered = seal_request("pod-1", "code", "pages", 0, HOUR, owed("7"), HOUR.end)
    assert why_it_waits(record(request=metered, last_error="outcome_unknown")) == OUTCOME_UNKNOWN
