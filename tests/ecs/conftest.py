"""The image the local ECS runs, and the AWS Marketplace beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sidecar.emulator import Emulator
from tests.ecs.local_ecs import REGION, missing


@pytest.fixture(scope="session")
def image() -> str:
    """An image of the sidecar, by whomever it was built."""
    name = os.environ.get("SIDECAR_IMAGE")
    if not name:
        pytest.skip("SIDECAR_IMAGE names no image to run")
    if lacking := missing():
        pytest.skip(f"a local ECS needs {', '.join(lacking)}")
    return name


@pytest.fixture
def aws() -> Iterator[Emulator]:
    """AWS, at 10:20 on a clock that stands still until it is moved."""
    start = datetime(2026, 1, 2, 10, 20, tzinfo=UTC)
    with Emulator(product_codes=("prod1",), dimensions=("requests",), clock_start=start, clock_speed=0) as emulator:
        emulator.behave(region=REGION)
        yield emulator
