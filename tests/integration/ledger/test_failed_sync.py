"""A push that was refused because the disk did not sync is not counted, not even after a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.ledger import wal
from tests.integration.ledger.support import Story, accepted, balanced, event

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="a disk that does not sync is played by a C shim")

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) {
  const char *flag = getenv("FAIL_FILE");
  if (flag && access(flag, F_OK) == 0) { errno = EIO; return 1; }
  return 0;
}
int fsync(int fd) { return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""
BEGIN = """
import sys; argv = sys.argv[1:]
from tests.integration.ledger.support import *
story, flag = Story(Path(argv[0])), Path(argv[1])
ledger = story.open()
def push(*events): return getattr(story.push(ledger, *events), "accepted", None)
assert push(event(id="first")) == 1
"""
REFUSE = """
flag.touch()
refused = story.push(ledger, *[event(id=f"lost-{number}") for number in range(900)])
assert (refused.status, refused.reason) == (503, "ledger_io_error"), refused
"""
CHANGE = """
from sidecar.ledger import wal
log = wal.path_of(story.path)
def change(at):
    with log.open("r+b") as file:
        file.seek(at); before, = file.read(1); file.seek(at); file.write(bytes([before ^ 1]))
ends = []
for number in range(12):
    assert push(event(id=str(number))) == 1
    ends.append(log.stat().st_size)
"""


def killed_after(tmp_path: Path, code: str, before: str = "") -> Story:
    """The files of a process that did this and was killed, as they are in the page cache."""
    source, shim, flag = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "fails"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    whole = f"{BEGIN}{before}{REFUSE}{code}\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            whole,
            tmp_path / "state",
            flag,
        ],
        env={**os.environ, "LD_PRELOAD": str(shim), "FAIL_FILE": str(flag)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == -9, process.stderr
    return Story(tmp_path / "state")


@pytest.mark.parametrize("tries", [0, 3])
def test_what_was_refused_is_not_counted_after_a_crash(tmp_path: Path, tries: int) -> None:
    story = killed_after(tmp_path, f"for _ in range({tries}): assert push(event()) is None")
    assert wal.inspect(story.path) == wal.Finding()
    ledger = story.open()
    assert (accepted(ledger), ledger.set_aside) == (1, None)
    assert balanced(ledger)
    story.close()


def test_a_disk_that_syncs_again_keeps_what_it_acknowledges(tmp_path: Path) -> None:
    """Shorter commits lie over the one that failed; what is left of that is neither counted nor damage."""
    story = killed_after(tmp_path, "flag.unlink()\nassert push(event(id='second')) == 1\nassert push(event()) == 1")
    assert wal.inspect(story.path) == wal.Finding()
    ledger = story.open()
    assert (accepted(ledger), ledger.set_aside) == (3, None)
    assert balanced(ledger)
    story.close()


def test_an_id_that_was_refused_counts_when_it_is_sent_again(tmp_path: Path) -> None:
    story = killed_after(tmp_path, "flag.unlink()\nassert push(event(id='lost-1'), event(id='first')) == 1")
    ledger = story.open()
    assert accepted(ledger) == 2
    story.push(ledger, event(id="lost-1"), event(id="lost-2"))
    assert accepted(ledger) == 3
    story.close()


@pytest.mark.parametrize(
    "place",
    [
        "3",
        "wal.HEADER.size + 100",
        "ends[5] + wal.FRAME.size + 50",
        "ends[5] + 8",
        "ends[-2] + wal.FRAME.size + 50",
        "ends[-1] - 50",
    ],
)
def test_a_failed_sync_does_not_hide_what_the_disk_changed_before(tmp_path: Path, place: str) -> None:
    """What lies behind the changed bit was acknowledged: it stays for the next opening to find."""
    story = killed_after(tmp_path, "flag.unlink()\nassert push(event()) == 1", f"{CHANGE}change({place})")
    assert wal.inspect(story.path).damage
    wrong = wal.path_of(story.path).read_bytes()
    ledger = story.open()
    assert ledger.set_aside is not None
    assert wal.path_of(ledger.set_aside).read_bytes() == wrong
    story.close()
