"""An id or a key that the disk changed is found before it would count as new, wherever it is kept."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from zlib import crc32

import pytest

from sidecar.ledger import seen_ids, unique_keys
from sidecar.ledger.id_memory import ENTRY, ID
from sidecar.ledger.seen_ids import CUT, CUT_SINCE, SLICE_IDS, UNCUT, Form, sum_of
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent, content_digest, id_digest
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import OWNER, Story, balanced, child, event, raw_connection
from tests.integration.ledger.test_opening import SCHEMAS
from tests.integration.ledger.test_seen_ids import batch

NEXT_BYTE = "CAST(substr({0}, 1, length({0}) - 1) || char((unicode(substr(hex({0}), -1)) + 1) % 64) AS BLOB)"
"""Another last byte: the order stays."""
CHANGES = {
    "an id": "UPDATE {table} SET id = " + NEXT_BYTE.format("id") + " WHERE id = (SELECT max(id) FROM {table})",
    "a content": "UPDATE {table} SET content = "
    + NEXT_BYTE.format("content")
    + " WHERE id = (SELECT min(id) FROM {table})",
    "one less": "DELETE FROM {table} WHERE id = (SELECT min(id) FROM {table})",
    "one more": "INSERT INTO {table} SELECT randomblob(length(id)), content FROM {table} LIMIT 1",
}
IN_LOG = {
    "an id": "UPDATE seen_log SET entries = CAST(x'00' || substr(entries, 2) AS BLOB)",
    "a content": "UPDATE seen_log SET entries = CAST(substr(entries, 1, length(entries) - 1) || x'00' AS BLOB)",
    "a number": "UPDATE seen_log SET number = number + 1 WHERE number = (SELECT max(number) FROM seen_log)",
    "one less": "UPDATE seen_log SET entries = CAST(substr(entries, 23) AS BLOB) WHERE length(entries) > 22",
    "a checksum": "UPDATE seen_log SET checksum = checksum + 1",
}
OLD, MANY = batch("old", 40), [batch(f"many{number}", SLICE_IDS) for number in range(24)]


def used(story: Story) -> None:
    """A closed ledger with ids of the generation before, sorted in, and in the log."""
    ledger = story.open()
    story.push(ledger, *OLD)
    story.now += timedelta(hours=25)
    for some in MANY:
        story.push(ledger, *some)
    story.close()


def edit(path: Path, statement: str) -> None:
    connection = raw_connection(path)
    assert connection.execute(statement).rowcount
    connection.commit()
    connection.close()


def refused(story: Story) -> bool:
    """Whether an opening sets the ledger aside."""
    ledger = story.open()
    try:
        return ledger.set_aside is not None
    finally:
        ledger.close()


def test_ids_that_are_what_was_written_are_known_after_any_restart(story: Story) -> None:
    used(story)
    for _ in range(2):
        ledger = story.open()
        assert ledger.set_aside is None
        for some in (OLD, *MANY):
            assert story.push(ledger, *some) == PushAccepted(accepted=0, duplicates=len(some))
        story.close()


@pytest.mark.parametrize("table", ["seen", "seen_before"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_id_that_was_sorted_in_sets_the_ledger_aside(story: Story, table: str, change: str) -> None:
    used(story)
    edit(story.path, CHANGES[change].format(table=table))
    assert refused(story)


@pytest.mark.parametrize("change", IN_LOG)
def test_a_changed_id_in_the_log_sets_the_ledger_aside(story: Story, change: str) -> None:
    used(story)
    edit(story.path, IN_LOG[change])
    assert refused(story)


@pytest.mark.parametrize("change", ["now = now + 1", "before = before + 1"])
def test_a_changed_sum_sets_the_ledger_aside(story: Story, change: str) -> None:
    used(story)
    edit(story.path, f"UPDATE seen_sum SET {change}")
    assert refused(story)


def test_sums_go_with_their_generation(story: Story) -> None:
    """A rotation moves everything: what was now is before, and found there."""
    used(story)
    ledger = story.open()
    story.now += timedelta(hours=25)
    story.push(ledger, event(id="new"))
    story.close()
    assert not refused(story)
    edit(story.path, CHANGES["an id"].format(table="seen_before"))
    assert refused(story)


@pytest.mark.parametrize(
    "dump", [path for path in SCHEMAS if int(path.stem) < seen_ids.SUMS_SINCE], ids=lambda path: path.stem
)
def test_ids_of_an_older_schema_are_summed_when_they_are_first_read(story: Story, dump: Path) -> None:
    connection = sqlite3.connect(story.path)
    connection.executescript(dump.read_text())
    older = [bytes([number]) * UNCUT.entry for number in range(1, 4)]
    connection.execute("INSERT INTO seen_log (number, entries) VALUES (3, ?)", (b"".join(older),))
    connection.execute("INSERT INTO seen_before VALUES (randomblob(16), randomblob(16))")
    connection.commit()
    connection.close()
    assert not refused(story)
    ledger = story.open()
    cut = [one[:ENTRY] for one in older]
    assert ledger._do(lambda connection: seen_ids.lookup(connection, cut)) == {one[:ID]: one[ID:] for one in cut}
    assert story.push(ledger, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)
    for some in MANY:
        story.push(ledger, *some)
    story.close()
    assert not refused(story)
    edit(story.path, CHANGES["a content"].format(table="seen"))
    assert refused(story)


def with_uncut_ids(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """Make a ledger of the last schema with whole digests: ids sorted in, of the generation before and in the log."""
    connection, uncut = sqlite3.connect(path), next(one for one in SCHEMAS if int(one.stem) == CUT_SINCE - 1)
    connection.executescript(uncut.read_text())
    digests = {
        name: sorted((id_digest(f"{name}{number}"), content_digest(event())) for number in range(100))
        for name in ("seen", "seen_before", "log")
    }
    for table in ("seen", "seen_before"):
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", digests[table])
    group = b"".join(map(b"".join, digests["log"]))
    connection.execute("INSERT INTO seen_log VALUES (102, ?, ?)", (group, 102 + crc32(group)))
    connection.execute("UPDATE seen_sum SET now = ?, before = ?", tuple(map(uncut_sum, list(digests.values())[:2])))
    connection.commit()
    connection.close()
    return digests


def uncut_sum(digests: Sequence[tuple[bytes, bytes]]) -> int:
    return sum_of(b"".join(map(b"".join, digests)), UNCUT.modulus)


def test_whole_digests_of_an_older_schema_are_cut_and_known(story: Story) -> None:
    with_uncut_ids(story.path)
    ledger = story.open()
    assert ledger.set_aside is None
    for name in ("seen", "seen_before", "log"):
        again = [event(id=f"{name}{number}") for number in range(100)]
        assert story.push(ledger, *again) == PushAccepted(accepted=0, duplicates=100)
        other = story.push(ledger, event(id=f"{name}7", quantity="2"))
        assert isinstance(other, PushRefused)
        assert other.reason == "id_conflict"
    assert story.push(ledger, event(id="seen100")) == PushAccepted(accepted=1, duplicates=0)
    story.close()
    assert not refused(story)


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize(
    "change", [*(one.format(table="seen_before") for one in CHANGES.values()), *IN_LOG.values(), ""]
)
def test_ids_that_were_cut_are_checked_like_others(tmp_path: Path, change: str, dead: bool) -> None:
    """One that the disk changes afterwards is found, also where only another workload has opened the ledger since."""
    story, ours = (
        Story(tmp_path, owner=replace(OWNER, workload="pod-1")),
        Story(tmp_path, owner=replace(OWNER, workload="pod-2")),
    )
    with_uncut_ids(story.path)
    if dead:
        (found,) = ours.open().adopt(ours.now)
        assert not found.skipped
        ours.close()
    else:
        story.open()
        story.close()
    if change:
        edit(story.path, change)
    assert refused(story) is bool(change)


OPENER = """
import resource
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
assert Story(Path(argv[0])).open().set_aside is None
print(peak() - before)
"""


@pytest.mark.slow
def test_many_whole_digests_are_cut_in_little_memory(story: Story) -> None:
    """A container has 48 MiB in the chart's requests; the tables take ten times what this may, and so do free pages."""
    with_uncut_ids(story.path)
    connection = sqlite3.connect(story.path)
    for table in ("unused", "seen", "seen_before"):
        if table == "unused":
            connection.execute("CREATE TABLE unused (id, content)")
        connection.execute(
            "WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 700000)"
            f" INSERT INTO {table} SELECT CAST(printf('%014d..', i) AS BLOB), zeroblob(16) FROM number"
        )
    connection.execute("UPDATE seen_sum SET now = NULL, before = NULL")
    connection.commit()
    connection.execute("DROP TABLE unused")
    connection.commit()
    connection.close()
    said, failed = child(OPENER, story.directory).communicate(timeout=60)
    assert int(said) < 8 * 1024, failed


@pytest.mark.parametrize("change", [*(one.format(table="seen") for one in CHANGES.values()), *IN_LOG.values()])
def test_a_whole_digest_that_the_disk_changed_is_found_before_it_is_cut(story: Story, change: str) -> None:
    with_uncut_ids(story.path)
    edit(story.path, change.replace("entries, 23", "entries, 33").replace("> 22", "> 32"))
    assert refused(story)


def test_ids_of_a_dead_workload_are_taken_only_as_they_were_written(tmp_path: Path) -> None:
    for change in (None, CHANGES["an id"].format(table="seen"), IN_LOG["a content"]):
        directory = tmp_path / str(len(change or ""))
        dead = Story(directory, owner=replace(OWNER, workload="pod-0"))
        used(dead)
        if change:
            edit(dead.path, change)
        ours = Story(directory, now=dead.now)
        (found,) = ours.open().adopt(ours.now)
        assert (found.skipped, found.ids_missing) == (("ledger_corrupt", True) if change else ("", False))
        ours.close()
        ledger = ours.open()
        assert ledger.set_aside is None
        for some in (OLD, *MANY):
            known = PushAccepted(accepted=0, duplicates=len(some))
            assert (ours.push(ledger, *some) == known) is not bool(change), "they were adopted, with their sums"
        ours.close()


def test_an_id_that_is_sorted_in_twice_is_corruption(story: Story) -> None:
    """What waits in memory is in no sorted table, or the sum would count it twice."""
    ledger = story.open()
    first = batch("first", SLICE_IDS - 1)
    story.push(ledger, *first)

    def twice(connection: seen_ids.Connection) -> int:
        assert connection.ids is not None
        entries = connection.ids.waiting(0)
        connection.executemany("INSERT INTO seen VALUES (?, ?)", [(one[:ID], one[ID:]) for one in entries])
        return len(entries)

    while not ledger._do(twice):
        first = batch(f"{first[0].id}", 16 * SLICE_IDS)  # until the slice that moves first has one
        story.push(ledger, *first)
    answers = [story.push(ledger, *batch(f"again{number}", 16 * SLICE_IDS)) for number in range(16)]
    assert [one.reason for one in answers if isinstance(one, PushRefused)] == ["ledger_corrupt"]
    assert ledger.set_aside is not None


def keyed(names: Sequence[str]) -> list[UsageEvent]:
    return [event("users", "1", key=name) for name in names]


@pytest.mark.parametrize("column", ["key", "checksum"])
def test_a_changed_key_sets_the_ledger_aside(story: Story, column: str) -> None:
    story.push(story.open(), *keyed("abc"))
    story.close()
    assert not refused(story)
    change = NEXT_BYTE.format("key") if column == "key" else "checksum + 1"
    edit(story.path, f"UPDATE unique_key SET {column} = {change} WHERE key = (SELECT max(key) FROM unique_key)")
    assert refused(story)


MANY_KEYS = [str(number) for number in range(2000)]


@pytest.mark.parametrize("place", [0, 999, 1999])
def test_any_of_many_keys_that_is_changed_is_found(story: Story, place: int) -> None:
    story.push(story.open(), *keyed(MANY_KEYS))
    story.close()
    which = f"(SELECT key FROM unique_key ORDER BY key LIMIT 1 OFFSET {place})"
    edit(story.path, f"UPDATE unique_key SET key = {NEXT_BYTE.format('key')} WHERE key = {which}")
    assert refused(story)


def test_keys_with_each_others_checksums_are_found(story: Story) -> None:
    """Their sum is right."""
    story.push(story.open(), *keyed(MANY_KEYS))
    story.close()
    two = "(SELECT key FROM unique_key WHERE key < x'01' LIMIT 2)"
    other = f"(SELECT sum(checksum) FROM unique_key WHERE key IN {two}) - checksum"
    edit(story.path, f"UPDATE unique_key SET checksum = {other} WHERE key IN {two}")
    assert refused(story)


def test_many_keys_are_checked_without_a_call_for_each(story: Story) -> None:
    """An hour may have a million."""
    ledger, calls = story.open(), list[str]()
    story.push(ledger, *keyed(MANY_KEYS))

    def check(connection: sqlite3.Connection) -> None:
        sys.setprofile(lambda frame, kind, _: calls.append(frame.f_code.co_name) if kind == "call" else None)
        try:
            unique_keys.check(connection)
        finally:
            sys.setprofile(None)

    ledger._do(check)
    assert "check" in calls
    assert len(calls) < len(MANY_KEYS)


def test_a_key_of_an_older_version_still_counts_once(story: Story) -> None:
    story.push(story.open(), *keyed("abc"))
    story.close()
    edit(story.path, "UPDATE unique_key SET checksum = NULL")
    ledger = story.open()
    assert ledger.set_aside is None
    story.push(ledger, *keyed("abcd"))
    (users,) = (one for one in ledger.balances() if one.dimension == "users")
    assert users.waiting == 4
    assert balanced(ledger)


@pytest.mark.parametrize("form", [CUT, UNCUT])
def test_the_sum_of_ids_is_that_of_their_parts_in_any_order(form: Form) -> None:
    def total(entries: bytes) -> int:
        return sum_of(entries, form.modulus)

    one, two = bytes(range(form.entry)), bytes(range(100, 100 + form.entry))
    assert total(one + two) == total(two + one) == (total(one) + total(two)) % form.modulus
    assert total(b"") == 0
    for at in range(form.entry):
        for change in (1, 0x80, 0xFF):
            other = one[:at] + bytes([one[at] ^ change]) + one[at + 1 :]
            assert total(other) != total(one)
