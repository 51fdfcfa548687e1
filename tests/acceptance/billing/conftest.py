"""An AWS that keeps metering's rules, and a product that counts what it was acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.billing.metered import Product, marketplace


@pytest.fixture
def aws(keys: SigningKeys) -> Iterator[Emulator]:
    with marketplace(keys) as emulator:
        yield emulator


@pytest.fixture
def product() -> Product:
    return Product()
