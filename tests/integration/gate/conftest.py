"""Keys made once, and a place to ask from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sidecar.emulator.keys import SigningKeys

from .support import Rig


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    """Versions 1 to 3; no test adds to them."""
    return SigningKeys((1, 2, 3))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keys: SigningKeys) -> Iterator[Rig]:
    with ExitStack() as running:
        yield Rig(monkeypatch=monkeypatch, tmp=tmp_path, keys=keys, running=running)
