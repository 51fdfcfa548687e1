"""What AWS answered is kept with its audit row, and a record is settled or rolled forward once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sidecar.metering.decide import Decision
from sidecar.metering.outcomes import Refused, Unknown
from sidecar.metering.states import IllegalTransition, State
from sidecar.quick_dataclasses import replace
from tests.integration.saas.support import HOUR, a_store, accepted, answered, balance, seal, used


def test_a_settled_record_is_settled_for_ever(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        (record,) = store.due(HOUR.end)
        with store.leader():
            store.mark_sending([record], HOUR.end)
            (settled,) = store.save([answered(record)], HOUR.end)
            assert (settled.usage.state, settled.usage.record_id) == (State.SETTLED, "r-1")
            assert store.save([answered(record)], HOUR.end) == (settled,), "the same twice changes nothing"
            with pytest.raises(IllegalTransition):
                store.save([answered(record, Refused(code="InvalidProductCodeException"))], HOUR.end)
            with pytest.raises(IllegalTransition):
                store.mark_sending([record], HOUR.end)
        assert (balance(store).settled, balance(store).waiting) == (Decimal(3), Decimal(0))
        assert store.due(HOUR.end) == ()


def test_a_request_that_left_without_an_outcome_is_not_definite(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        with store.leader():
            store.mark_sending(store.due(HOUR.end), HOUR.end)
            (again,) = store.due(HOUR.end)
            assert not again.usage.definite
            (held,) = store.save([answered(again, Unknown(code="ReadTimeoutError"))], HOUR.end)
        assert (held.usage.state, held.usage.definite, held.usage.attempts) == (State.SEALED, False, 1)


def test_what_was_certainly_not_billed_is_rolled_forward_once(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        (record,) = store.due(HOUR.end)
        decision = answered(record, Refused(code="TimestampOutOfBoundsException"))
        with store.leader():
            store.mark_sending([record], HOUR.end)
            (rolled,) = store.save([decision], HOUR.end)
        assert (rolled.usage.state, rolled.usage.rolled_to) == (State.ROLLED_FORWARD, HOUR.next)
        assert balance(store).waiting == Decimal(3)
        accepted(store, used(1), at=HOUR.end)
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(4)}


def test_a_repair_is_a_new_request_of_the_same_record(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(2, "gigabytes", tags=(("team", "a"),)))
        seal(store)
        (record,) = store.due(HOUR.end)
        with store.leader():
            (mended,) = store.save([answered(record, Refused(code="InvalidTagException"))], HOUR.end)
        assert mended.request.allocations == ()
        assert mended.request.client_token != record.request.client_token
        assert store.due(HOUR.end) == (mended,)


def test_a_record_of_another_quantity_is_refused(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        (record,) = store.due(HOUR.end)
        good = answered(record)
        other: Decision = replace(good.decision, record=replace(good.decision.record, quantity=Decimal(4)))
        with store.leader(), pytest.raises(IllegalTransition):
            store.save([good._replace(decision=other)], HOUR.end)
        assert balance(store).settled == Decimal(0)


def test_records_show_what_is_open_and_what_is_sealed(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        accepted(store, used(4), at=HOUR.end)
        states = [(one.usage.state, one.usage.quantity) for one in store.records()]
        assert states == [(State.OPEN, Decimal(4)), (State.SEALED, Decimal(3))]
        summary = store.summary()
        assert (summary.open_from, summary.states, summary.oldest_unsettled) == (HOUR.next, {State.SEALED: 1}, HOUR)
        assert not summary.leading


def test_a_row_that_was_changed_in_the_database_is_not_sent(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        store.database.run(lambda one: one.exec_driver_sql("UPDATE saas_usage_record SET quantity = '4'") and None)
        with pytest.raises(ValueError, match="of another record"):
            store.due(HOUR.end)
        store.database.run(lambda one: one.exec_driver_sql("UPDATE saas_usage_record SET quantity = '3'") and None)


def test_a_record_that_waits_is_found_behind_any_number_of_newer_ones(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        seal(store)
        (record,) = store.due(HOUR.end)
        with store.leader():
            store.mark_sending([record], HOUR.end)
            store.save([answered(record, Refused(code="InvalidUsageDimensionException"))], HOUR.end)
        accepted(store, used(1), at=HOUR.end)
        seal(store, HOUR.next)
        assert [one.usage.state for one in store.records(limit=1)] == [State.SEALED]
        (found,) = store.records(limit=1, states=[State.REJECTED])
        assert (found.usage.hour, found.usage.state) == (HOUR, State.REJECTED)
        assert store.records(states=[State.DISPUTED]) == ()
