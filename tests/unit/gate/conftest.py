"""Fixtures of the entitlement loop's tests: no thread unless a test starts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.log import Events, logged_events

from .support import Story


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """The note's file is there, as the kubelet makes it."""
    note = tmp_path / "termination-log"
    note.write_text("")
    return Story(note=note)


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    with logged_events() as found:
        yield found
