"""One AWS Marketplace a test, one set of keys a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.support import PRODUCT


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    return SigningKeys((1,))


@pytest.fixture
def aws(keys: SigningKeys) -> Iterator[Emulator]:
    with Emulator(product_codes=(PRODUCT,), keys=keys) as emulator:
        yield emulator
