"""The first check's child is forked while there is something to gain, and shares what it can."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sidecar.app import first_child
from sidecar.server.supervised import Supervised

MODULES = "import sys; sys.path.insert(0, '.'); {}; print(*sys.modules)"
WORKER = "import sidecar.app.run, sidecar.app.wiring, sidecar.server.admission, sidecar.server.worker"
CHILD = """from sidecar.child import late_imports, main; late_imports.put_off()
import sidecar.gate.job, sidecar.gate.register_usage"""


def imported(code: str) -> set[str]:
    line = [sys.executable, "-I", "-c", MODULES.format(code)]
    return set(subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout.split())


def test_what_worker_and_child_both_import_is_imported_before_the_fork() -> None:
    before = imported("import sidecar.app.first_child, sidecar.child.main")
    assert imported(WORKER) & imported(CHILD) - before == set()


def test_nothing_is_imported_before_the_fork_that_the_worker_does_not_need() -> None:
    assert imported("import sidecar.app.first_child") - imported(WORKER) == {"sidecar.app.first_child"}


def test_a_worker_that_follows_one_with_settings_forks_no_child_yet() -> None:
    shared = Supervised()
    waiting = first_child.fork(shared)
    assert waiting is not None
    waiting.dismiss()
    shared.allow(1.0)
    assert first_child.fork(shared) is None


def test_a_child_that_cannot_be_forked_now_is_forked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert first_child.fork(Supervised()) is None
