"""What an answer of BatchMeterUsage means for a customer's record."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.metering.batch_dispositions import UNPROCESSED
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.rollup import Allocation
from sidecar.metering.states import Disposition, State
from sidecar.saas.decisions import Rules, decide, decide_if_late
from sidecar.saas.records import CustomerRecord, deadline

from .support import HOUR, NOW, sealed

TAGGED = (Allocation(tags=(("tenant", "a"),), quantity=Decimal(7)),)


def decided(outcome: Outcome, record: CustomerRecord | None = None, **rules: bool) -> tuple[State, bool, str]:
    _, decision = decide(record or sealed(), outcome, NOW, Rules(**rules), 0.5)
    return decision.record.state, decision.roll_forward, decision.reason


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Settled(record_id="id-1"), State.SETTLED),
        (Refused(code=UNPROCESSED), State.SEALED),
        (Refused(code="CustomerNotSubscribed"), State.REJECTED),
        (Refused(code="DuplicateRecord"), State.DISPUTED),
        (Refused(code="InvalidUsageDimensionException"), State.REJECTED),
        (Refused(code="InvalidProductCodeException"), State.SEALED),
        (Refused(code="TimestampOutOfBoundsException"), State.EXPIRED),
        (Refused(code="ThrottlingException"), State.SEALED),
        (Unknown(code="ReadTimeoutError"), State.SEALED),
        (Refused(code="NewException"), State.SEALED),
    ],
)
def test_an_outcome_has_the_state_of_its_row(outcome: Outcome, state: State) -> None:
    assert decided(outcome)[0] is state


def test_unprocessed_leaves_it_certain_that_nothing_was_billed_and_a_lost_answer_does_not() -> None:
    _, unprocessed = decide(sealed(), Refused(code=UNPROCESSED), NOW, Rules(), 0.5)
    _, lost = decide(sealed(), Unknown(code="ReadTimeoutError"), NOW, Rules(), 0.5)
    assert unprocessed.record.definite
    assert not lost.record.definite


def test_tags_that_aws_refuses_are_left_out_once() -> None:
    record = sealed(allocations=TAGGED)
    _, decision = decide(record, Refused(code="InvalidTagException"), NOW, Rules(), 0.5)
    assert decision.disposition is Disposition.REPAIR
    mended = record.after(decision.record)
    assert (mended.request.allocations, mended.request.timestamp) == ((), record.request.timestamp)
    assert decided(Refused(code="InvalidTagException"), mended)[0] is State.REJECTED


def test_a_record_is_sent_until_24_hours_after_its_hour_began_and_not_after() -> None:
    record = sealed()
    assert decide_if_late(record, deadline(HOUR) - timedelta(seconds=1), Rules()) is None
    late = decide_if_late(record, deadline(HOUR), Rules())
    assert late is not None
    assert late.decision.roll_forward
    assert deadline(HOUR) <= HOUR.start + timedelta(hours=24)


def test_what_expires_for_a_closed_customer_waits_for_a_person() -> None:
    assert decided(Refused(code="TimestampOutOfBoundsException")) == (State.EXPIRED, True, "timestamp_out_of_bounds")
    closed = decided(Refused(code="TimestampOutOfBoundsException"), closed=True)
    assert closed == (State.REJECTED, False, "customer_closed")


def test_a_disputed_quantity_is_billed_again_only_where_the_setting_says_so() -> None:
    duplicate = Refused(code="DuplicateRecord")
    assert decided(duplicate)[:2] == (State.DISPUTED, False)
    assert decided(duplicate, roll_forward_disputed=True)[:2] == (State.DISPUTED, True)
    assert decided(duplicate, roll_forward_disputed=True, closed=True)[:2] == (State.DISPUTED, False)


def test_a_late_record_whose_answer_was_lost_waits_for_a_person() -> None:
    late = decide_if_late(sealed(definite=False), deadline(HOUR), Rules())
    assert late is not None
    assert (late.decision.record.state, late.decision.reason) == (State.REJECTED, "outcome_unknown")
