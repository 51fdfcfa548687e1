"""A beginning that was cut off: the next one takes usage for the same hour, whatever the first has left."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.ledger.statements import migrations
from sidecar.metering.events import PushAccepted
from tests.integration.ledger.support import HOUR, Story, event, raw_connection

ROOT = Path(__file__).parents[3]
PAGE = 4096
JOURNAL = (bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 1, 0, 512, PAGE)).ljust(512, b"\0")
"""A rollback journal of an empty file (sqlite.org/fileformat2.html, "The Rollback Journal")."""

KILLED = """
import os, signal, sys
from pathlib import Path
from sidecar.ledger import opening
from tests.integration.ledger.support import Story
left, sql = int(sys.argv[2]), opening.sql
def killed(name):
    global left
    if name in ("migration_done", "meta_first"):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
    return sql(name)
opening.sql = killed
Story(Path(sys.argv[1])).open()
"""


def begun(story: Story, *, first_page: bytes, journal: bytes | None, log: bytes | None = None) -> None:
    story.path.parent.mkdir(exist_ok=True)
    story.path.write_bytes(first_page)
    for suffix, content in (("-journal", journal), ("-wal", log)):
        if content is not None:
            story.path.with_name(f"{story.path.name}{suffix}").write_bytes(content)


def torn_pages(directory: Path) -> list[bytes]:
    """The first page of an empty WAL database: without one sector each, cut at each, and not written."""
    path = directory / "empty.sqlite3"
    connection = raw_connection(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    page = path.read_bytes()[:PAGE]
    assert len(page) == PAGE
    sectors = range(0, PAGE, 512)
    return [
        bytes(PAGE),
        *(page[:at] + bytes(512) + page[at + 512 :] for at in sectors),
        *(page[:at] for at in sectors),
    ]


def test_a_beginning_that_was_cut_off_is_undone_by_its_journal(tmp_path: Path) -> None:
    for number, page in enumerate(torn_pages(tmp_path)):
        story = Story(tmp_path / f"volume-{number}")
        begun(story, first_page=page, journal=JOURNAL)
        ledger = story.open()
        assert ledger.set_aside is None, number
        assert ledger.open_from() == HOUR, number
        assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)
        story.close()
        assert not story.path.with_name(f"{story.path.name}-journal").exists()


@pytest.mark.parametrize("steps", range(len(migrations()) + 1))
def test_a_process_killed_while_it_begins_leaves_the_hour_open(tmp_path: Path, steps: int) -> None:
    """After so many steps of the schema; the last one is killed before the owner is written.

    Else what is pushed or adopted now would wait for the next hour, in which this workload may be gone.
    """
    line = [sys.executable, "-c", KILLED, tmp_path, str(steps)]
    assert subprocess.run(line, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    story = Story(tmp_path)
    assert story.path.stat().st_size > 0
    ledger = story.open()
    assert ledger.set_aside is None
    assert ledger.open_from() == HOUR
    story.close()


@pytest.mark.parametrize(
    ("journal", "log"),
    [(None, None), (b"", None), (bytes(512), None), (JOURNAL[:7] + b"\0" + JOURNAL[8:], None), (JOURNAL, b"log")],
    ids=["no journal", "an empty one", "one that is not written", "another file", "a log as well"],
)
def test_a_damaged_header_without_such_a_journal_is_set_aside(
    tmp_path: Path, journal: bytes | None, log: bytes | None
) -> None:
    story = Story(tmp_path / "volume")
    begun(story, first_page=bytes(PAGE), journal=journal, log=log)
    assert story.open().set_aside is not None
    story.close()


def test_a_journal_beside_a_whole_ledger_undoes_nothing(story: Story) -> None:
    story.push(story.open(), event(id="kept"))
    story.close()
    content = story.path.read_bytes()
    begun(story, first_page=content, journal=bytes(512))
    ledger = story.open()
    assert ledger.set_aside is None
    assert story.push(ledger, event(id="kept")) == PushAccepted(accepted=0, duplicates=1)
    story.close()
