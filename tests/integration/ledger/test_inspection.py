"""A ledger is looked into beside the process that has it open, and nothing of it changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.ledger import volume, wal
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.inspection import Inspection, inspect
from sidecar.ledger.opening import Owner
from sidecar.ledger.statements import migrations
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import HOUR, OWNER, Story, child, event, raw_connection


@pytest.fixture
def story(tmp_path: Path) -> Story:
    (tmp_path / "state").mkdir()
    (tmp_path / "copies").mkdir()
    return Story(tmp_path / "state")


def look(story: Story, path: Path | None = None) -> Inspection:
    copies = story.directory.parent / "copies"
    found = inspect(path or story.path, copies, story.now)
    assert list(copies.iterdir()) == [], "the copy is removed"
    return found


def everything(story: Story) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in story.directory.iterdir()}


def test_a_closed_ledger_shows_whose_it_is_and_what_waits(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="3"))
    story.seal(ledger)
    story.push(ledger, event(quantity="2"))
    story.close()
    found = look(story)
    assert found.owner == OWNER
    assert found.summary
    assert found.summary.states == {State.SEALED: 1}
    assert found.summary.oldest_unsettled == HOUR
    (one,) = [one for one in found.balances if one.dimension == "requests"]
    assert (one.accepted, one.waiting, one.balanced) == (5, 5, True)
    assert (found.holder, found.in_doubt) == ("", False)


def test_a_ledger_in_use_is_read_up_to_its_last_commit_and_left_as_it_is(story: Story) -> None:
    code = """
story = Story(Path(argv[0])); ledger = story.open()
story.push(ledger, event(quantity="7"))
print("open", flush=True); sys.stdin.read()
"""
    process = child(code, story.directory)
    try:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        before = everything(story)
        assert wal.path_of(story.path).name in before
        found = look(story)
        assert everything(story) == before
        assert not volume.is_free(story.path)
        assert found.holder == f"process {process.pid} on {before[story.path.name + '.lock'].decode().split()[-1]}"
        assert [one.accepted for one in found.balances if one.dimension == "requests"] == [7]
    finally:
        process.communicate("", timeout=20)


def test_the_holder_is_not_named_once_it_is_gone(story: Story) -> None:
    story.open()
    assert volume.holder(story.path)
    story.close()
    assert volume.holder(story.path) == ""
    assert volume.holder(story.path, Path("/nowhere")) == ""


def test_the_log_of_a_process_that_was_killed_is_not_recovered(story: Story) -> None:
    code = "story = Story(Path(argv[0])); story.push(story.open(), event(quantity='4')); os._exit(0)"
    child(f"import os\n{code}", story.directory).communicate(timeout=20)
    before = everything(story)
    assert [one.accepted for one in look(story).balances if one.dimension == "requests"] == [4]
    assert everything(story) == before


def test_an_empty_file_holds_nothing(story: Story) -> None:
    story.path.touch()
    assert look(story) == Inspection(path=story.path, bytes=0, holder="")


def cut_off(story: Story) -> None:
    story.path.write_bytes(story.path.read_bytes()[:5000])


def write_later_version(story: Story) -> None:
    connection = raw_connection(story.path)
    connection.execute("INSERT INTO migration VALUES (?, 'later', 'then')", (len(migrations()) + 1,))
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [(cut_off, "ledger_corrupt"), (write_later_version, "ledger_newer_schema")],
    ids=["cut off", "newer"],
)
def test_what_cannot_be_read_is_an_error_and_stays_where_it_is(
    story: Story, change: Callable[[Story], None], reason: str
) -> None:
    story.push(story.open(), event())
    story.close()
    change(story)
    before = everything(story)
    with pytest.raises(LedgerError) as raised:
        look(story)
    assert raised.value.reason == reason
    assert everything(story) == before


def test_a_ledger_that_is_not_there_is_an_error(story: Story) -> None:
    with pytest.raises(LedgerError, match="ledger_missing_directory"):
        look(story)


def test_a_pipe_with_the_name_of_a_ledger_is_an_error_and_nothing_waits_for_it(story: Story) -> None:
    pipe = story.path.with_name("ledger-pipe.sqlite3")
    os.mkfifo(pipe)
    with pytest.raises(LedgerError):
        look(story, pipe)


def test_a_directory_that_takes_no_copy_is_an_error(story: Story) -> None:
    story.push(story.open(), event())
    story.close()
    with pytest.raises(LedgerError):
        inspect(story.path, story.directory / "missing", story.now)


@pytest.mark.parametrize(
    "schema", sorted((Path(__file__).parent / "schemas").glob("*.sql")), ids=lambda path: path.stem
)
def test_a_ledger_of_an_older_version_is_read_and_not_migrated(story: Story, schema: Path) -> None:
    connection = raw_connection(story.path)
    connection.executescript(schema.read_text())
    connection.close()
    before = story.path.read_bytes()
    assert look(story).owner is not None
    assert story.path.read_bytes() == before


def test_the_ledger_of_another_product_is_read_too(story: Story) -> None:
    other = Story(story.directory, replace(OWNER, workload="pod-2", product_code="another"))
    other.push(other.open(), event())
    other.close()
    assert look(story, other.path).owner == Owner(workload="pod-2", product_code="another", region="us-east-1")


def test_a_copy_under_another_name_is_the_same_ledger(story: Story) -> None:
    story.push(story.open(), event())
    story.close()
    moved = story.directory / "ledger-elsewhere.sqlite3"
    shutil.copy(story.path, moved)
    assert look(story, moved).owner == OWNER
