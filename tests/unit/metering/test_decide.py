"""AWS's answer decides the next step; when in doubt the usage waits for a person."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.decide import Decision, Policy, decide, decide_if_late
from sidecar.metering.dispositions import TABLE
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Allocation, Owed
from sidecar.metering.schedule import deadline
from sidecar.metering.sealed_request import QuantityKind, Repair, seal_request
from sidecar.metering.states import Disposition, IllegalTransition, State
from sidecar.quick_dataclasses import replace

HOUR = Hour.numbered(498_658)

NOW = HOUR.end + timedelta(minutes=5)

POLICY = Policy(workload="pod-1")

SPLIT = (Allocation(tags=(), quantity=Decimal(2)), Allocation(tags=(("t", "a"),), quantity=Decimal(5)))


def record(split: bool = False, **fields: object) -> UsageRecord:
    owed = Owed(quantity=Decimal(7), allocations=SPLIT if split else (), carry=Decimal(0), merged=0)
    request = seal_request("pod-1", "code", "requests", 0, HOUR, owed, HOUR.end)
    sealed = UsageRecord(
        hour=HOUR, dimension="requests", state=State.SEALED, quantity=Decimal(7), request=request, retry_at=NOW
    )
    return replace(sealed, **fields)  # type: ignore[arg-type]


def answer(outcome: Outcome, to: UsageRecord | None = None, policy: Policy = POLICY, chance: float = 0.5) -> Decision:
    return decide(to or record(), outcome, NOW, policy, chance)


def refused(code: str, **fields: object) -> Refused:
    return Refused(code=code, **fields)  # type: ignore[arg-type]


def test_a_record_id_settles() -> None:
    decision = answer(Settled(record_id="m-1"), record(last_error="throttled"))
    assert (decision.disposition, decision.code) == (Disposition.SETTLE, "settled")
    settled = decision.record
    assert (settled.state, settled.record_id, settled.attempts) == (State.SETTLED, "m-1", 1)
    assert settled.retry_at is None
    assert settled.last_error is None


@pytest.mark.parametrize("state", [state for state in State if state is not State.SEALED])
def test_only_a_sealed_record_takes_an_answer(state: State) -> None:
    for outcome in (Settled(record_id="m"), refused("ThrottlingException"), refused("InvalidTagException")):
        with pytest.raises(IllegalTransition):
            answer(outcome, record(split=True, state=state))


@pytest.mark.parametrize("code", ["ThrottlingException", "503", "ReadTimeoutError", "AccessDeniedException", "NewWord"])
def test_a_held_record_waits_with_the_same_request(code: str) -> None:
    decision = answer(refused(code))
    assert decision.disposition is Disposition.HOLD
    assert decision.record.state is State.SEALED
    assert decision.record.request == record().request
    assert decision.record.retry_at is not None
    assert decision.record.retry_at > NOW
    assert (decision.record.last_error, decision.code) == (code, code)


def test_pauses_grow_and_are_longer_for_what_a_person_must_fix() -> None:
    first, later = (answer(refused("503"), record(attempts=at)).record.retry_at for at in (0, 5))
    slow = answer(refused("AccessDeniedException")).record.retry_at
    assert first is not None
    assert later is not None
    assert slow is not None
    assert first < later
    assert first < slow


def test_a_throttled_record_of_a_fleet_waits_and_one_that_is_alone_does_not() -> None:
    fleet = answer(refused("ThrottlingException"), chance=0.9).record.retry_at
    alone = answer(refused("ThrottlingException"), policy=replace(POLICY, alone=True), chance=0.9).record.retry_at
    assert fleet is not None
    assert alone is not None
    assert fleet - NOW > timedelta(minutes=1)
    assert alone - NOW <= timedelta(seconds=2)


def test_a_pause_that_aws_asks_for_is_kept() -> None:
    decision = answer(refused("ThrottlingException", retry_after_seconds=90.0), chance=0.0)
    assert decision.record.retry_at == NOW + timedelta(seconds=90)


def test_expired_credentials_are_renewed_and_tried_once_more_at_once() -> None:
    first = answer(refused("ExpiredTokenException"))
    assert first.record.retry_at == NOW
    second = answer(refused("ExpiredTokenException"), first.record)
    assert second.record.retry_at is not None
    assert second.record.retry_at > NOW


def test_other_errors_are_not_tried_again_at_once() -> None:
    later = answer(refused("ThrottlingException")).record.retry_at
    assert later is not None
    assert later > NOW


def test_another_quantity_at_aws_is_for_a_person() -> None:
    decision = answer(refused("DuplicateRequestException"))
    assert decision.record.state is State.DISPUTED
    assert decision.record.retry_at is None
    assert not decision.roll_forward


def test_a_dispute_is_billed_again_only_where_the_operator_says_so() -> None:
    decision = answer(refused("DuplicateRequestException"), policy=replace(POLICY, roll_forward_disputed=True))
    assert decision.record.state is State.DISPUTED
    assert decision.roll_forward


def as_integers(one: UsageRecord) -> UsageRecord:
    """Return the record as it is sealed where AWS is known to refuse the decimal field."""
    assert one.request
    return replace(one, request=replace(one.request, sealed_kind=QuantityKind.INTEGER))


@pytest.mark.parametrize("code", ["InvalidTagException", "InvalidUsageAllocationsException"])
def test_a_refused_split_is_sent_without_allocations_once(code: str) -> None:
    first = answer(refused(code), as_integers(record(split=True)))
    assert (first.disposition, first.record.repairs) == (Disposition.REPAIR, (Repair.WITHOUT_ALLOCATIONS,))
    assert first.record.request is not None
    assert first.record.request.allocations == ()
    assert first.record.retry_at == NOW
    second = answer(refused(code), first.record)
    assert second.record.repairs == first.record.repairs
    assert second.record.state is State.REJECTED


@pytest.mark.parametrize("code", ["InvalidTagException", "InvalidUsageAllocationsException"])
def test_where_there_is_no_split_there_is_nothing_to_repair(code: str) -> None:
    assert answer(refused(code), as_integers(record())).record.state is State.REJECTED


def test_a_split_is_tried_in_whole_numbers_before_the_tags_are_given_up() -> None:
    """The error's text names another kind of quantity as a cause; without a split AWS could bill 0 for it."""
    code = "InvalidUsageAllocationsException"
    whole = answer(refused(code), record(split=True)).record
    assert whole.repairs == (Repair.INTEGER_FIELD,)
    assert whole.request
    assert whole.request.allocations == SPLIT
    dropped = answer(refused(code), whole).record
    assert dropped.repairs == (Repair.INTEGER_FIELD, Repair.WITHOUT_ALLOCATIONS)
    assert answer(refused("InvalidTagException"), record(split=True)).record.repairs == (Repair.WITHOUT_ALLOCATIONS,)


def crowd(size: int) -> UsageRecord:
    shares = tuple(Allocation(tags=(("t", f"{at:04}"),), quantity=Decimal(1 + at % 7)) for at in range(size))
    request = record().request
    assert request is not None
    total = sum(one.quantity for one in shares)
    return record(quantity=total, request=replace(request, quantity=str(total), allocations=shares))


def test_a_crowded_split_is_first_merged_then_left_out() -> None:
    before = as_integers(crowd(501))
    merged = answer(refused("InvalidUsageAllocationsException"), before)
    assert merged.record.repairs == (Repair.FEWER_ALLOCATIONS,)
    dropped = answer(refused("InvalidUsageAllocationsException"), merged.record)
    assert dropped.record.repairs == (Repair.FEWER_ALLOCATIONS, Repair.WITHOUT_ALLOCATIONS)
    assert answer(refused("InvalidUsageAllocationsException"), dropped.record).record.state is State.REJECTED
    requests = [one.request for one in (before, merged.record, dropped.record)]
    assert [len(one.allocations) for one in requests if one] == [501, 500, 0]
    assert len({one.client_token for one in requests if one}) == 3
    assert len({one.quantity for one in requests if one}) == 1


def test_a_split_of_500_has_nothing_to_merge() -> None:
    repairs = answer(refused("InvalidUsageAllocationsException"), as_integers(crowd(500))).record.repairs
    assert repairs == (Repair.WITHOUT_ALLOCATIONS,)


def test_refused_tags_are_not_merged() -> None:
    assert answer(refused("InvalidTagException"), crowd(501)).record.repairs == (Repair.WITHOUT_ALLOCATIONS,)


def test_a_token_conflict_gets_a_new_token_once() -> None:
    first = answer(refused("IdempotencyConflictException"), record(split=True))
    assert first.record.repairs == (Repair.NEW_TOKEN,)
    original, mended = record(split=True).request, first.record.request
    assert original is not None
    assert mended is not None
    assert replace(mended, client_token=original.client_token) == original
    assert mended.client_token != original.client_token
    assert answer(refused("IdempotencyConflictException"), first.record).record.state is State.REJECTED


@pytest.mark.parametrize(
    "code", ["InvalidProductCodeException", "InvalidUsageDimensionException", "ValidationException"]
)
def test_a_refusal_that_repeating_cannot_change_is_for_a_person(code: str) -> None:
    decision = answer(refused(code), as_integers(record()))
    assert decision.record.state is State.REJECTED
    assert decision.record.retry_at is None
    assert "usage retry" in decision.hint


def test_a_late_record_that_was_refused_each_time_is_rolled_forward() -> None:
    held = answer(refused("ThrottlingException")).record
    decision = answer(refused("TimestampOutOfBoundsException"), held)
    assert decision.record.state is State.EXPIRED
    assert decision.roll_forward


@pytest.mark.parametrize("lost", [Unknown(code="child_failed"), refused("ReadTimeoutError"), refused("NewWord")])
def test_too_late_after_an_answer_was_lost_is_for_a_person(lost: Outcome) -> None:
    held = answer(lost).record
    decision = answer(refused("TimestampOutOfBoundsException"), held)
    assert decision.record.state is State.REJECTED
    assert (decision.reason, decision.record.last_error) == ("outcome_unknown", "outcome_unknown")
    assert decision.code == "TimestampOutOfBoundsException", "the audit trail keeps what AWS answered"
    assert not decision.roll_forward


def test_a_lost_answer_is_never_forgotten_by_a_later_refusal() -> None:
    lost = answer(Unknown(code="child_timed_out")).record
    assert not answer(refused("ThrottlingException"), lost).record.definite
    assert not answer(refused("InvalidTagException"), replace(lost, request=record(split=True).request)).record.definite


def test_an_error_that_came_before_meter_usage_was_called_is_definite() -> None:
    assert answer(refused("503", sent=False)).record.definite
    assert not answer(refused("503")).record.definite


def test_a_crash_while_a_request_is_under_way_leaves_an_unknown_outcome() -> None:
    crashed = replace(record(), attempts=1, definite=False)
    late = decide_if_late(crashed, deadline(HOUR))
    assert late is not None
    assert late.record.state is State.REJECTED


def test_an_answer_that_came_counts_one_attempt() -> None:
    assert answer(refused("ThrottlingException")).record.attempts == 1
    assert answer(refused("ThrottlingException")).record.definite


def test_a_record_never_sent_is_rolled_forward_when_it_is_too_late() -> None:
    late = decide_if_late(record(), deadline(HOUR))
    assert late is not None
    assert (late.record.state, late.roll_forward, late.reason) == (State.EXPIRED, True, "too_late")
    assert late.code == "too_late"


def test_a_record_is_not_late_before_its_deadline() -> None:
    assert decide_if_late(record(), deadline(HOUR) - timedelta(microseconds=1)) is None


CODES = st.sampled_from(sorted(TABLE)) | st.text(max_size=5)

OUTCOMES = st.builds(Refused, code=CODES) | st.builds(Unknown, code=CODES)


@given(st.lists(OUTCOMES, max_size=8), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_only_a_record_id_settles_and_no_answer_changes_hour_or_quantity(
    outcomes: list[Outcome], split: bool, chance: float
) -> None:
    now, lost = record(split=split), False
    for outcome in outcomes:
        decision = decide(now, outcome, NOW, POLICY, chance)
        lost = lost or isinstance(outcome, Unknown)
        sealed, first = decision.record.request, now.request
        assert sealed is not None
        assert first is not None
        assert (sealed.timestamp, sealed.quantity) == (first.timestamp, first.quantity)
        assert (sealed == first) == (decision.disposition is not Disposition.REPAIR)
        assert decision.record.state is not State.SETTLED
        assert not (lost and decision.roll_forward)
        assert (decision.record.retry_at is not None) == (decision.record.state is State.SEALED)
        if decision.record.state is not State.SEALED:
            break
        now = decision.record


@pytest.mark.parametrize("code", ["ValidationException", "SerializationException", "DecimalsUnsupported"])
def test_a_whole_quantity_whose_decimal_field_is_refused_is_sealed_again(code: str) -> None:
    before = record(split=True)
    decision = answer(refused(code), before)
    assert (decision.disposition, decision.record.repairs) == (Disposition.REPAIR, (Repair.INTEGER_FIELD,))
    assert before.request
    after = decision.record.request
    assert after
    assert after.kind is QuantityKind.INTEGER
    assert (after.quantity, after.timestamp, after.allocations) == ("7", before.request.timestamp, SPLIT)
    assert after.client_token != before.request.client_token
    assert decision.record.retry_at == NOW


def test_a_second_refusal_a_fraction_or_a_forced_field_waits_for_a_person() -> None:
    once = answer(refused("ValidationException")).record
    sealed = record()
    assert sealed.request
    half = replace(sealed, quantity=Decimal("7.5"), request=replace(sealed.request, quantity="7.5", decimals=1))
    forced = replace(POLICY, repairs=frozenset(Repair) - {Repair.INTEGER_FIELD})
    for to, policy in ((once, POLICY), (half, POLICY), (sealed, forced)):
        decision = answer(refused("ValidationException"), to, policy)
        assert (decision.disposition, decision.record.state) == (Disposition.REJECT, State.REJECTED)
        assert decision.record.request == to.request


@pytest.mark.parametrize("code", ["InvalidUsageDimensionException", "ThrottlingException", "ReadTimeoutError"])
def test_what_does_not_refuse_the_field_changes_no_field(code: str) -> None:
    assert answer(refused(code)).record.request == record().request


@pytest.mark.parametrize(
    ("code", "lost_before", "disposition"),
    [
        ("IdempotencyConflictException", False, Disposition.REJECT),
        ("ValidationException", True, Disposition.REJECT),
        ("ValidationException", False, Disposition.REPAIR),
    ],
)
def test_where_the_token_alone_tells_records_apart_none_is_sealed_that_may_bill_twice(
    code: str, lost_before: bool, disposition: Disposition
) -> None:
    policy = replace(POLICY, by_token=True)
    before = answer(Unknown(code="ReadTimeoutError"), policy=policy).record if lost_before else record()
    assert answer(refused(code), before, policy).disposition is disposition
    assert answer(refused(code), before).disposition is Disposition.REPAIR, "an hour protects itself"
