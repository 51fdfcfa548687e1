"""The route of SaaS products says what it lacks, instead of waiting for it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from sidecar.app import saas as service
from sidecar.cli.demo import saas
from sidecar.cli.demo.environment import DemoEnvironment, DemoFailed


def test_without_the_databases_packages_it_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "missing", lambda: service.MISSING)
    with ExitStack() as stack, pytest.raises(DemoFailed, match=r"pip install '\.\[saas\]'"):
        saas.run(DemoEnvironment(tmp_path, stack))
    assert list(tmp_path.iterdir()) == [], "nothing was started"
