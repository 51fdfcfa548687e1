"""A sealed hour takes no more usage; late usage loses its hour, not its quantity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.events import PushRefused
from sidecar.metering.hours import Hour
from sidecar.metering.late_events import hour_for
from sidecar.settings.dimensions import Aggregation

HOUR = Hour.numbered(500_000)
SINGLE = [Aggregation.MAX, Aggregation.LAST, Aggregation.UNIQUE]


@pytest.mark.parametrize("aggregation", Aggregation)
def test_usage_of_an_open_hour_counts_in_it(aggregation: Aggregation) -> None:
    assert hour_for(HOUR, HOUR, aggregation) == HOUR
    assert hour_for(HOUR.next, HOUR, aggregation) == HOUR.next


def test_late_usage_of_a_sum_counts_in_the_first_open_hour() -> None:
    assert hour_for(HOUR.previous, HOUR, Aggregation.SUM) == HOUR


@pytest.mark.parametrize("aggregation", SINGLE)
def test_a_late_value_that_cannot_be_added_is_refused(aggregation: Aggregation) -> None:
    refused = hour_for(HOUR.previous, HOUR, aggregation, index=3)
    assert isinstance(refused, PushRefused)
    assert (refused.status, refused.reason, refused.index) == (422, "hour_sealed", 3)
    assert str(HOUR.previous) in refused.detail
    assert aggregation.value in refused.detail


def test_a_refusal_of_one_event_reads_as_a_sentence() -> None:
    refused = hour_for(HOUR.previous, HOUR, Aggregation.MAX)
    assert isinstance(refused, PushRefused)
    assert refused.detail.startswith(f"The hour {HOUR.previous} is sealed")
    assert " at " in refused.detail, "the field is named"


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_sum_is_never_lost_and_never_in_a_sealed_hour(event: int, open_from: int) -> None:
    found = hour_for(Hour.numbered(event), Hour.numbered(open_from), Aggregation.SUM)
    assert found == Hour.numbered(max(event, open_from))
