"""A read that fails sets no ledger aside: what was kept is known afterwards, and the error says what failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.power import trace
from tests.power.campaign import ROOT

pytestmark = pytest.mark.skipif(not trace.available(), reason=trace.NEEDS)
BEGIN = """
import ctypes, sqlite3, sys
from pathlib import Path
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted
from tests.integration.ledger.support import *
from tests.integration.ledger.test_damage_found_once import reported_by_sqlite
from tests.integration.ledger.test_opening import damaged
EIO, shim, story = 1, ctypes.CDLL(None), Story(Path(sys.argv[1]))
kept = [event(id=str(number)) for number in range(40)]
ledger = story.open()
assert story.push(ledger, *kept).accepted == 40
story.seal(ledger)
known = PushAccepted(accepted=0, duplicates=40)
"""
EACH = """
ledger.close()
number, calls, refused = 0, 1, []
while number < calls:
    number += 1
    shim.power_fail_one(EIO, number)
    try:
        ledger = story.open()
    except LedgerError as exc:
        refused.append(exc.reason)
        ledger = story.open()
    result = story.push(ledger, *kept)
    if result != known:
        refused.append(getattr(result, "reason", f"{number}: {result}"))
        result = story.push(ledger, *kept)
    calls = shim.power_count()
    shim.power_fail(0, 0)
    assert (result, ledger.set_aside) == (known, None), (number, result, ledger.set_aside)
    ledger.close()
assert not list(story.directory.glob("*.corrupt-*")), number
assert number > 40, number
assert set(refused) <= {"ledger_io_error", "ledger_read_only"}, set(refused)
assert refused.count("ledger_io_error") > 20, refused
"""
ALL = """
def damage(connection):
    shim.power_fail(EIO, 1)  # each call, from now on
    raise reported_by_sqlite()
for work in (damage, lambda connection: None):
    try:
        ledger._writer.run(work)
        raise AssertionError("a disk that reads nothing is none")
    except LedgerError as exc:
        assert exc.reason == "ledger_io_error", exc
assert ledger.fault.reason == "ledger_io_error"
shim.power_fail(0, 0)
assert story.push(ledger, *kept) == known
assert (ledger.set_aside, ledger.fault) == (None, None)
"""
REAL = """
ledger.close()
damaged(story.path, sys.argv[2])
content = story.path.read_bytes()
number, calls = 0, 1
while number < calls:
    number += 1
    shim.power_fail_one(EIO, number)
    aside, ledger = None, None
    try:
        ledger = story.open()
        aside = ledger.set_aside
        answer = None if aside else story.push(ledger, event(id="new"))
    except LedgerError as exc:
        answer, aside = exc, exc.set_aside
    ledger = ledger or story.open()
    aside = aside or ledger.set_aside
    if not aside:
        answer = story.push(ledger, event(id="new"))
        aside = ledger.set_aside
    calls = shim.power_count()
    shim.power_fail(0, 0)
    assert aside and b"\\xff" * 4096 in aside.read_bytes(), (number, answer, aside)
    again = story.push(ledger, event(id="another"), event(id="0"))
    assert again == PushAccepted(accepted=2, duplicates=0), (number, again)
    ledger.close()
    for part in story.directory.iterdir():
        part.unlink()
    story.path.write_bytes(content)
assert number > 40, number
"""
LOCK = """
from sidecar.ledger.volume import Lock
def reason(number, what):
    shim.power_fail_one(EIO, number)
    try:
        what()
    except LedgerError as exc:
        return exc.reason
    finally:
        shim.power_fail(0, 0)
other = story.directory / "other.sqlite3"
assert [reason(number, lambda: Lock(other).release()) for number in (1, 2, 3)] == ["ledger_io_error"] * 3
lock = Lock(other)
assert reason(2, lambda: Lock(other)) == "ledger_locked", "its holder cannot be read, and holds it"
lock.release()
Lock(other).release()
"""


def run_under_shim(tmp_path: Path, code: str, *more: str) -> None:
    """Run it in a process whose calls below this directory can be failed."""
    state = tmp_path.resolve() / "state"
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, state, *more],
        env=trace.environment(trace.compile_shim(tmp_path), state, tmp_path / "trace"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_any_one_read_that_fails_at_opening_or_in_use_sets_no_ledger_aside(tmp_path: Path) -> None:
    run_under_shim(tmp_path, EACH)


def test_a_disk_that_reads_nothing_after_damage_was_reported_is_an_io_error(tmp_path: Path) -> None:
    run_under_shim(tmp_path, ALL)


def test_a_lock_that_cannot_be_looked_at_is_an_io_error_and_held_by_none(tmp_path: Path) -> None:
    run_under_shim(tmp_path, LOCK)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["meta", "seen"])
def test_real_damage_is_set_aside_whatever_read_fails_besides(tmp_path: Path, table: str) -> None:
    run_under_shim(tmp_path, REAL, table)
