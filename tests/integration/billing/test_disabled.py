"""Where no dimension is set, ledgers of an earlier version of the product are named."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from sidecar.billing.disabled import DisabledMetering
from tests.fakes.clock import FakeClock
from tests.fakes.log import Events
from tests.integration.billing.support import MakeStory


def started(state_dir: Path) -> DisabledMetering:
    """Return metering without dimensions, once its look at the directory is over."""
    made = DisabledMetering(FakeClock(), state_dir)
    made.loop.start()
    for thread in threading.enumerate():
        if thread.name == "unused-ledgers":
            thread.join()
    return made


def test_an_older_ledger_is_named_with_what_to_do(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("3")
    assert story.loop.ledger is not None
    path = str(story.loop.ledger.path)
    story.crash()
    found = started(story.directory)
    logged = events.one("ledger.unused")
    assert (logged["paths"], logged["count"], logged["levelname"]) == ([path], 1, "WARNING")
    assert "SIDECAR_DIMENSIONS" in logged["hint"]
    assert (found.unused_ledgers, found.status()) == ([path], None)


def test_without_a_ledger_nothing_is_said(tmp_path: Path, events: Events) -> None:
    (tmp_path / "answer-x.json").write_text("{}")
    (tmp_path / "ledger-x.sqlite3.lock").write_text("")
    for directory in (tmp_path, tmp_path / "missing", tmp_path / "answer-x.json"):
        assert list(started(directory).unused_ledgers) == []
    assert events.of("ledger.unused") == []


def test_of_very_many_ledgers_some_are_named_and_all_counted(tmp_path: Path, events: Events) -> None:
    for number in range(30):
        (tmp_path / f"ledger-{number:02d}.sqlite3").touch()
    started(tmp_path)
    logged = events.one("ledger.unused")
    assert (len(logged["paths"]), logged["count"]) == (20, 30)


def test_a_directory_that_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr("os.listdir", lambda _: go.wait(10) and [])
    made = DisabledMetering(FakeClock(), tmp_path)
    made.loop.start()
    assert (made.unused_ledgers, made.loop.stopped()) == ((), True)
    go.set()


def test_looking_for_ledgers_imports_none() -> None:
    code = "import sys; import sidecar.billing.disabled; print('sqlite3' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    assert done.stdout == "False\n"
