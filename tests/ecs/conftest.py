"""Give the tests an image for the local ECS, and an emulator of AWS Marketplace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sidecar.emulator import Emulator
from tests.ecs.local_ecs import REGION, missing


@pytest.fixture(scope="session")
def image() -> str:
    """Return the name of an image of the sidecar; skip where SIDECAR_IMAGE names none."""
    name = os.environ.get("SIDECAR_IMAGE")
    if not name:
        pytest.skip("SIDECAR_IMAGE names no image to run")
    if lacking := missing():
        pytest.skip(f"a local ECS needs {', '.join(lacking)}")
    return name


@pytest.fixture
def aws() -> Iterator[Emulator]:
    """Yield an emulator of AWS at 10:20, on a clock that stands still until a test moves it."""
    start = datetime(2026, 1, 2, 10, 20, tzinfo=UTC)
    with Emulator(product_codes=("prod1",), dimensions=("requests",), clock_start=start, clock_speed=0) as emulator:
        emulator.behave(region=REGION)
        yield emulator
