"""Keys, made once."""

from __future__ import annotations

import pytest

from sidecar.emulator.keys import SigningKeys


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    return SigningKeys((1, 2))
