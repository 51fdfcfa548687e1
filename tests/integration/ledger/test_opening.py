"""Disks that are full, broken, read-only, foreign or of a newer version."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.ledger.statements import migrations, sql
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.quick_dataclasses import replace
from tests.fakes.faults import raising
from tests.integration.ledger.support import (
    HOUR,
    OWNER,
    Story,
    accepted,
    balanced,
    child,
    event,
    is_intact,
    raw_connection,
)

SHORT = """
from sidecar.metering.hours import use_short_periods
use_short_periods()
story = Story(Path(argv[0])); ledger = story.open()
assert ledger.push([event(id="first")], story.now).accepted == 1
assert story.seal(ledger)
story.close()
"""

FULL = """
import resource
from sidecar.ledger.errors import LedgerError
story = Story(Path(argv[0])); ledger = story.open()
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
assert ledger.push([event(id="first")], NOON).accepted == 1
size = max(part.stat().st_size for part in Path(argv[0]).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, resource.RLIM_INFINITY))
kept, refused = [], None
for number in range(10_000):
    answer = ledger.push([event(id=f"{number}-{part}") for part in range(50)], NOON)
    if not hasattr(answer, "accepted"):
        refused = answer
        break
    kept.append(number)
assert refused.status == 503, refused
assert ledger.fault.reason == refused.reason
try:
    for _ in range(20): ledger.check(NOON)  # smaller than a push: it may fit a few times
except LedgerError as exc: assert exc.reason == refused.reason, exc
else: raise SystemExit("the check did not notice")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.check(NOON)
assert ledger.fault is None
assert ledger.push([event(id="last")], NOON).accepted == 1
assert accepted(ledger) == 2 + 50 * len(kept), (accepted(ledger), len(kept))
assert balanced(ledger)
ledger.close()
print(refused.reason, accepted)
"""


def test_a_full_disk_refuses_loses_nothing_and_recovers_by_itself(story: Story) -> None:
    process = child(FULL, story.directory)
    said, failed = process.communicate(timeout=30)
    assert process.returncode == 0, failed
    assert said.split()[0] in ("ledger_full", "ledger_io_error")
    assert is_intact(story.path)


def test_an_agents_ledger_is_refused_by_a_sidecar_that_counts_hours_and_stays(story: Story) -> None:
    process = child(SHORT, story.directory)
    _, failed = process.communicate(timeout=30)
    assert process.returncode == 0, failed
    with pytest.raises(LedgerError, match="SIDECAR_PLATFORM was changed") as caught:
        story.open()
    assert caught.value.reason == "ledger_of_another"
    assert not list(story.directory.glob("*.corrupt-*"))


@pytest.mark.parametrize("damage", [b"garbage" * 200, b""], ids=["header", "emptied"])
def test_a_file_that_is_no_ledger_is_set_aside(story: Story, damage: bytes) -> None:
    story.push(story.open(), event())
    story.close()
    story.path.write_bytes(damage)
    ledger = story.open()
    if damage:
        assert ledger.set_aside is not None
        assert ledger.set_aside.read_bytes() == damage
        assert ledger.open_from() == HOUR.next, "the current hour may have been sent"
    assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)
    story.close()
    assert story.open().set_aside is None


def root_page(path: Path, table: str) -> int:
    """The number of a table's first page."""
    with closing(raw_connection(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return int(page)


def damage(path: Path, page: int) -> None:
    """Overwrite a page."""
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def damaged(path: Path, table: str) -> None:
    """Overwrite a table's first page."""
    damage(path, root_page(path, table))


TABLES = ["meta", "bucket", "usage_record", "seen", "seen_before", "seen_log", "seen_sum", "attempt", "ids_given"]


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_page_is_found_at_opening(story: Story, table: str) -> None:
    story.push(story.open(), event())
    story.close()
    damaged(story.path, table)
    ledger = story.open()
    assert ledger.set_aside is not None
    assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)


def test_a_page_that_counts_as_free_and_is_in_use_is_found_at_opening(story: Story) -> None:
    """SQLite would write something else over it; it compares the list of free pages only with the whole file."""
    story.push(story.open(), event())
    story.close()
    with closing(raw_connection(story.path)) as connection:
        connection.execute("CREATE TABLE gone AS SELECT zeroblob(20000)")
        connection.execute("DROP TABLE gone")
        connection.commit()
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 3
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    story.open()
    story.close()
    assert story.opened[-1].set_aside is None
    used = root_page(story.path, "seen_before")
    with story.path.open("r+b") as file:
        file.seek(32)
        trunk = int.from_bytes(file.read(4))
        file.seek((trunk - 1) * 4096 + 8)
        file.write(used.to_bytes(4))
    assert story.open().set_aside is not None


def damaged_in_use(story: Story) -> Ledger:
    """An open ledger of which the disk changes a page that was right when it was opened, and is read again."""
    story.push(story.open(), event(id="a"))
    story.close()
    page = root_page(story.path, "lifetime")
    ledger = story.open()
    damage(story.path, page)
    ledger._do(lambda connection: connection.execute("PRAGMA shrink_memory"))
    assert ledger.set_aside is None
    return ledger


def test_a_page_found_damaged_while_running_sets_the_file_aside(story: Story) -> None:
    ledger = damaged_in_use(story)
    answer = story.push(ledger, event(id="b"))
    assert isinstance(answer, PushRefused)
    assert (answer.status, answer.reason) == (503, "ledger_corrupt")
    assert ledger.set_aside is not None
    assert story.push(ledger, event(id="b")) == PushAccepted(accepted=1, duplicates=0)
    assert ledger.open_from() == HOUR.next
    assert ledger.fault is None
    assert balanced(ledger)


@pytest.mark.parametrize(
    ("table", "column"), [("seen", b"(id BLOB"), ("seen", b", content BLOB"), ("ids_given", b"at TEXT")]
)
def test_a_column_that_the_disk_renamed_sets_the_file_aside(story: Story, table: str, column: bytes) -> None:
    """A byte of the schema's text: SQLite reads it as another name. Rows of the last table are not read at opening."""
    story.push(story.open(), event(id="a"))
    story.close()
    content = story.path.read_bytes()
    at = content.index(column, content.index(f"CREATE TABLE {table} ".encode())) + column.index(b" ", 1) - 1
    story.path.write_bytes(content[:at] + b"x" + content[at + 1 :])
    ledger = story.open()
    if table == "ids_given":
        assert ledger.set_aside is None
        with pytest.raises(LedgerError) as raised:
            ledger._do(lambda connection: connection.execute(sql("ids_give"), {"ledger": "x", "at": "now"}))
        assert raised.value.reason == "ledger_corrupt"
    assert ledger.set_aside is not None
    assert story.push(ledger, event(id="b")) == PushAccepted(accepted=1, duplicates=0)
    assert balanced(ledger)


def test_a_new_file_that_cannot_be_begun_is_tried_again(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = damaged_in_use(story)

    with monkeypatch.context() as patch:
        patch.setattr("sidecar.ledger.volume.set_aside", raising(LedgerError, "ledger_full"))
        for reason in ("ledger_corrupt", "ledger_full"):
            answer = story.push(ledger, event(id="b"))
            assert isinstance(answer, PushRefused)
            assert answer.reason == reason
        with pytest.raises(LedgerError):
            ledger.check(story.now)
    assert story.push(ledger, event(id="b")) == PushAccepted(accepted=1, duplicates=0)
    assert balanced(ledger)


def test_files_set_aside_in_the_same_second_do_not_replace_each_other(story: Story) -> None:
    for _ in range(3):
        story.path.write_bytes(b"garbage" * 200)
        story.open()
        story.close()
    assert len(list(story.directory.glob("*.corrupt-*"))) == 3


def test_a_crash_after_setting_aside_still_counts_the_hour_as_sealed(story: Story) -> None:
    story.path.write_bytes(b"garbage" * 200)
    story.path.rename(story.path.with_name(f"{story.path.name}.corrupt-20260102T121000Z"))
    assert story.open().open_from() == HOUR.next


def newer(story: Story) -> bytes:
    story.push(story.open(), event())
    story.close()
    connection = raw_connection(story.path)
    connection.execute("INSERT INTO migration VALUES (?, 'later', 'then')", (len(migrations()) + 1,))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return story.path.read_bytes()


def test_a_newer_ledger_is_left_untouched_and_another_begun(story: Story) -> None:
    before = newer(story)
    ledger = story.open()
    assert ledger.passed_over == story.path
    assert ledger.path != story.path
    assert ledger.open_from() == HOUR.next
    assert story.push(ledger, event(), event()) == PushAccepted(accepted=2, duplicates=0)
    story.close()
    assert story.path.read_bytes() == before
    assert accepted(story.open()) == 2, "the one begun is found again"


def test_the_newer_version_adopts_what_the_older_kept_beside_it(story: Story) -> None:
    newer(story)
    story.push(story.open(), event(), event())
    story.close()
    connection = raw_connection(story.path)
    connection.execute("DELETE FROM migration WHERE name = 'later'")
    connection.commit()
    connection.close()
    ledger = story.open()
    assert ledger.path == story.path
    ledger.adopt(story.now)
    assert accepted(ledger) == 3
    assert balanced(ledger)


SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("*.sql"))
"""Dumps of used ledgers, one as each migration left it: two events, "a" of 2 sealed and "b" of 1 open."""


def test_each_schema_that_was_ever_written_has_a_dump_here() -> None:
    """A new migration brings the dump of what it makes, or the one after it would forget it."""
    assert [int(path.stem) for path in SCHEMAS] == [step.version for step in migrations()]


@pytest.mark.parametrize("dump", SCHEMAS, ids=lambda path: path.stem)
def test_a_ledger_of_each_schema_opens(story: Story, dump: Path) -> None:
    connection = sqlite3.connect(story.path)
    connection.executescript(dump.read_text())
    (found,) = connection.execute("SELECT max(version) FROM migration").fetchone()
    connection.close()
    assert found == int(dump.stem), "the dump is of the schema it is named for"
    ledger = story.open()
    assert ledger.set_aside is None
    assert accepted(ledger) == 3
    assert balanced(ledger)
    assert story.push(ledger, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)
    assert len(ledger.due(story.now + timedelta(hours=1))) == 1
    story.close()
    connection = raw_connection(story.path)
    assert connection.execute("SELECT max(version) FROM migration").fetchone()[0] == len(migrations())
    connection.close()


def test_a_request_of_an_older_version_is_sent_to_the_byte_as_it_was_sealed(story: Story) -> None:
    older = next(path for path in SCHEMAS if path.stem == "0004")
    connection = raw_connection(story.path)
    connection.executescript(older.read_text())
    (body,) = connection.execute("SELECT body FROM request").fetchone()
    connection.close()
    assert "quantity_kind" not in body
    (record,) = story.open().due(story.now + timedelta(hours=1))
    assert record.request
    assert record.request.as_json() == body
    wire = record.request.as_wire(decimal_fields=True)
    assert (wire["UsageQuantity"], "UsageQuantityAsDecimal" in wire) == (2, False)


def schema_of(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {(name, " ".join(text.split())) for name, text in rows}


def test_the_newest_dump_is_what_the_migrations_make_today(story: Story) -> None:
    story.open()
    story.close()
    made, dumped = raw_connection(story.path), sqlite3.connect(":memory:")
    dumped.executescript(SCHEMAS[-1].read_text())
    assert schema_of(dumped) == schema_of(made)
    made.close()
    dumped.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.push(story.open(), event())
    story.close()
    steps = migrations()
    bad = type(steps[0])(
        version=len(steps) + 1, name="bad", statements=("CREATE TABLE half (a) STRICT", "CREATE nonsense")
    )
    with monkeypatch.context() as patch:
        patch.setattr("sidecar.ledger.opening.migrations", lambda: (*steps, bad))
        with pytest.raises(LedgerError) as raised:
            story.open()
    assert raised.value.reason == "ledger_failed"
    assert accepted(story.open()) == 1


def test_another_workload_product_or_region_is_refused(story: Story) -> None:
    story.open()
    story.close()
    story.owner = Owner(workload=story.owner.workload, product_code="other", region="us-east-1")
    with pytest.raises(LedgerError) as raised:
        story.open()
    assert raised.value.reason == "ledger_of_another"


def test_a_product_code_that_is_added_later_leaves_a_contract_its_ledger(story: Story) -> None:
    """Until then its product ID names the product in its ledgers."""
    story.owner = replace(OWNER, product_code="prod-1", product_id="prod-1")
    story.push(story.open(), event(quantity="7"))
    story.close()
    story.owner = replace(OWNER, product_code="code", product_id="prod-2")
    with pytest.raises(LedgerError, match="prod-1"):
        story.open()
    story.owner = replace(story.owner, product_id="prod-1")
    assert accepted(story.open()) == 7


def test_a_network_file_system_is_refused(story: Story, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("30 22 0:40 / / rw,relatime shared:1 - nfs4 127.0.0.1:/ rw\n")
    with pytest.raises(LedgerError) as raised:
        story.open(mountinfo=mounts)
    assert raised.value.reason == "ledger_on_network_file_system"
    assert "nfs4" in raised.value.hint
    assert not story.path.exists()


@pytest.mark.parametrize("below", ["", "below"])
def test_a_directory_that_cannot_be_made_is_an_error(story: Story, below: str) -> None:
    (story.directory / "file").touch()
    story.directory = story.directory / "file" / below
    with pytest.raises(LedgerError) as raised:
        story.open()
    assert raised.value.reason == "ledger_missing_directory"


def test_a_read_only_file_refuses_pushes_until_it_is_writable(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume mounted read-only; root is stopped by nothing less."""
    story.open()
    story.close()
    ledger = story.open()
    ledger._writer.run(lambda connection: None)
    ledger._writer._connection.execute("PRAGMA query_only = ON")
    answer = story.push(ledger, event())
    assert isinstance(answer, PushRefused)
    assert (answer.status, answer.reason) == (503, "ledger_read_only")
    ledger._writer._connection.execute("PRAGMA query_only = OFF")
    ledger.check(story.now)
    assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)


def test_a_link_in_place_of_the_ledger_is_not_followed(story: Story) -> None:
    target = story.directory / "elsewhere"
    target.write_bytes(b"")
    story.path.symlink_to(target)
    with pytest.raises(LedgerError):
        story.open()
    assert target.read_bytes() == b""
