"""What the product was told is found again in the books, or missed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import Micros
from sidecar.settings.dimensions import Aggregation, Dimension
from tests.simulation.clock import BEGIN
from tests.simulation.model import Batch, Model


@pytest.fixture
def model() -> Model:
    found = Model()
    found.configure({"users": Dimension(name="users", aggregation=Aggregation.UNIQUE)})
    return found


def _batch(key: str, *, acknowledged: bool) -> Batch:
    event = UsageEvent(dimension="users", micros=Micros(0), key=key)
    return Batch(
        workload="pod-1",
        events=[event],
        now=BEGIN,
        forward=timedelta(0),
        open_from=Hour.at(BEGIN),
        acknowledged=acknowledged,
    )


def test_of_pushes_that_come_to_the_same_the_acknowledged_one_is_in(model: Model) -> None:
    model.unclear = [_batch("w", acknowledged=False), _batch("v", acknowledged=True)]
    assert model.settle({"users": Decimal(1)}, 1)
    model.take(_batch("v", acknowledged=True))
    assert model.accepted == {"users": 1}
    model.take(_batch("w", acknowledged=True))
    assert model.accepted == {"users": 2}


def test_a_push_that_was_acknowledged_is_missed(model: Model) -> None:
    model.unclear = [_batch("v", acknowledged=True)]
    assert not model.settle({}, 0)
    assert model.settle({"users": Decimal(1)}, 1)


@pytest.mark.parametrize("kept", [0, 1])
def test_one_whose_answer_was_lost_is_in_or_not(model: Model, kept: int) -> None:
    model.unclear = [_batch("w", acknowledged=False)]
    assert model.settle({"users": Decimal(kept)} if kept else {}, kept)
    assert model.events == kept
