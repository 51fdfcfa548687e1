"""Keys made once, and a container to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sidecar.emulator.keys import SigningKeys

from .support import Container


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    return SigningKeys((1, 2))


@pytest.fixture
def container(tmp_path: Path, keys: SigningKeys) -> Iterator[Container]:
    with ExitStack() as running:
        yield Container(directory=tmp_path, keys=keys, running=running)
