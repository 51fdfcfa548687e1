"""What tests of requests share."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.server import known_heads
from sidecar.server.limits import Limits


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that h11 was asked to read."""
    calls: list[bytes] = []
    read = known_heads.read_head

    def counted(data: bytes, limits: Limits) -> Any:
        calls.append(data)
        return read(data, limits)

    monkeypatch.setattr(known_heads, "read_head", counted)
    return calls
