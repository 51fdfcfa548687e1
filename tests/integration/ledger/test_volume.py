"""Real volumes that are full or read-only, in a mount namespace of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.ledger.support import Story, is_intact

ROOT = Path(__file__).parents[3]
MOUNT = 'mount -t tmpfs -o size="$1" ledger "$2" && shift 2 && exec "$@"'
BEGIN = "import sys; argv = sys.argv[1:]\nfrom tests.integration.ledger.support import *\n"


def unshared() -> list[str] | None:
    """How to get a mount namespace here; None where nothing gives one."""
    for flags in (["-m"], ["-r", "-m"]):
        probe = ["unshare", *flags, "sh", "-c", 'mount -t tmpfs -o size=64k probe "$0"', "/mnt"]
        try:
            if subprocess.run(probe, capture_output=True, timeout=20).returncode == 0:
                return ["unshare", *flags]
        except (OSError, subprocess.TimeoutExpired):
            pass
    return None


UNSHARE = unshared()
needs_mounts = pytest.mark.skipif(UNSHARE is None, reason="no mount namespace is permitted here")


def on_a_volume(directory: Path, size: str, code: str) -> str:
    """What `code` prints in a process that sees a small volume at `directory`."""
    command = [*(UNSHARE or []), "sh", "-c", MOUNT, "sh", size, str(directory), sys.executable, "-c", BEGIN + code]
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL = """
from sidecar.metering.events import PushAccepted
filler = Path(argv[0]) / "filler"
filler.write_bytes(bytes(200_000))
story = Story(Path(argv[0])); ledger = story.open()
kept, refused = [], None
while refused is None:
    batch = [event(id=f"{len(kept)}-{part}") for part in range(50)]
    answer = ledger.push(batch, NOON)
    if isinstance(answer, PushAccepted): kept.append(batch)
    else: refused = answer
assert (refused.status, refused.reason) == (503, "ledger_full"), refused
assert ledger.fault.reason == "ledger_full"
assert accepted(ledger) == 50 * len(kept) > 0
assert ledger.push(batch, NOON) == refused, "it stays full"
filler.unlink()
ledger.check(NOON)
assert ledger.fault is None
assert ledger.push(batch, NOON) == PushAccepted(accepted=50, duplicates=0), "what was refused was not kept"
kept.append(batch)
story.close(); ledger = story.open()
for one in kept: assert ledger.push(one, NOON) == PushAccepted(accepted=0, duplicates=50)
assert accepted(ledger) == 50 * len(kept)
assert balanced(ledger)
assert len(story.seal(ledger)) == 1
story.close()
assert is_intact(story.path)
print("told")
"""


@needs_mounts
def test_a_full_volume_loses_nothing_and_recovers_when_there_is_room(tmp_path: Path) -> None:
    assert on_a_volume(tmp_path, "600k", FULL) == "told\n"


TINY = """
from sidecar.ledger.errors import LedgerError
(Path(argv[0]) / "filler").write_bytes(bytes(60 * 1024))
try: Story(Path(argv[0])).open()
except LedgerError as exc: print(exc.reason)
(Path(argv[0]) / "filler").unlink()
"""


@needs_mounts
def test_a_volume_that_is_full_from_the_start_is_an_error(tmp_path: Path) -> None:
    assert on_a_volume(tmp_path, "64k", TINY) == "ledger_full\n"


READ_ONLY = """
import subprocess
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted
def remount(how): subprocess.run(["mount", "-o", f"remount,{how}", argv[0]], check=True)
story = Story(Path(argv[0])); ledger = story.open()
assert ledger.push([event(id="a")], NOON) == PushAccepted(accepted=1, duplicates=0)
story.close()
remount("ro")
try: story.open()
except LedgerError as exc: print(exc.reason)
remount("rw")
ledger = story.open()
assert ledger.push([event(id="a"), event(id="b")], NOON) == PushAccepted(accepted=1, duplicates=1)
assert balanced(ledger)
"""


@needs_mounts
def test_a_read_only_volume_is_an_error_until_it_is_writable(tmp_path: Path) -> None:
    assert on_a_volume(tmp_path, "600k", READ_ONLY) == "ledger_read_only\n"


HOLDER = BEGIN + (
    "ledger = Story(Path(argv[0])).open()\n"
    "print(ledger.push([event(id='a')], NOON).accepted, flush=True); sys.stdin.read()"
)

SECOND = BEGIN + (
    "from sidecar.ledger.errors import LedgerError\n"
    "try: Story(Path(argv[0])).open()\n"
    "except LedgerError as exc: print(exc.reason)\n"
    "else: print('open')"
)


def test_a_second_process_opens_the_ledger_once_the_first_is_killed(tmp_path: Path) -> None:
    """Two containers of one workload on one volume: what the first acknowledged the second finds."""
    story = Story(tmp_path)
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "1\n"
    look = [sys.executable, "-c", SECOND, str(tmp_path)]
    assert subprocess.run(look, capture_output=True, text=True, timeout=20, cwd=ROOT).stdout == "ledger_locked\n"
    first.kill()
    first.communicate()
    assert subprocess.run(look, capture_output=True, text=True, timeout=20, cwd=ROOT).stdout == "open\n"
    assert is_intact(story.path)
