"""A story per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import OWNER, Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = Story(tmp_path)
    yield made
    made.close()


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Story]:
    """Another workload on the volume, which is gone or will be."""
    made = Story(tmp_path, owner=replace(OWNER, workload="pod-0"))
    yield made
    made.close()
