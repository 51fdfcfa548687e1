"""A changed bit in the log loses nothing without a word; an end that a crash cut off is no damage."""

from __future__ import annotations

import os
import random
import shutil
import struct
from pathlib import Path

import pytest

from sidecar.ledger import wal
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.opening import open_known
from sidecar.metering.events import PushAccepted
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import HOUR, OWNER, Story, accepted, balanced, child, event, raw_connection

PUSHED = 40
KILLED = """
story = Story(Path(argv[0])); ledger = story.open()
for number in range(40): assert ledger.push([event(id=str(number))], NOON).accepted == 1
print("pushed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a sidecar that was killed: each of 40 pushes was acknowledged, and most are in the log alone."""
    directory = tmp_path / "killed"
    process = child(KILLED, directory)
    assert process.stdout is not None
    assert process.stdout.readline() == "pushed\n"
    process.kill()
    process.wait()
    return directory


def copied(killed: Path, directory: Path) -> Story:
    if directory.exists():
        shutil.rmtree(directory)
    shutil.copytree(killed, directory)
    return Story(directory)


def frames_of(story: Story) -> int:
    return (wal.path_of(story.path).stat().st_size - wal.HEADER.size) // wal.FRAME_BYTES


def frame_at(number: int) -> int:
    """Where a frame begins, counted from 1."""
    return wal.HEADER.size + (number - 1) * wal.FRAME_BYTES


def page_at(chance: random.Random, number: int) -> int:
    """Where one byte of a frame's page is."""
    return frame_at(number) + chance.randrange(wal.FRAME.size, wal.FRAME_BYTES)


def flip(story: Story, at: int, bit: int = 0) -> None:
    with wal.path_of(story.path).open("r+b") as file:
        file.seek(at)
        (before,) = file.read(1)
        file.seek(at)
        file.write(bytes([before ^ 1 << bit]))


def test_a_log_as_it_was_written_is_read_whole(killed: Path, tmp_path: Path) -> None:
    story = copied(killed, tmp_path / "copy")
    assert frames_of(story) > PUSHED
    assert wal.inspect(story.path).damage is None
    ledger = story.open()
    assert (accepted(ledger), ledger.set_aside) == (PUSHED, None)
    story.close()


def test_a_changed_bit_in_the_log_is_found_and_said(killed: Path, tmp_path: Path) -> None:
    """Wherever it is, but in the last commit's last frame: that is where a crash cuts off, too."""
    chance = random.Random(3)
    story = copied(killed, tmp_path / "copy")
    *_, near, last, _ = commits(story)
    places = [(at, chance.randrange(8)) for at in (page_at(chance, number) for number in range(1, last + 1))]
    places += [(at, bit) for at in range(wal.HEADER.size) for bit in range(8)]
    for number in (1, 2, *range(near, last + 1)):
        places += [(frame_at(number) + byte, chance.randrange(8)) for byte in range(wal.FRAME.size)]
    for at, bit in places:
        flip(story, at, bit)
        assert wal.inspect(story.path).damage, (at, bit)
        flip(story, at, bit)
    assert wal.inspect(story.path).damage is None
    flip(story, *places[0])
    wrong = wal.path_of(story.path).read_bytes()
    ledger = story.open()
    assert ledger.set_aside is not None
    assert wal.path_of(ledger.set_aside).read_bytes() == wrong, "kept as it was, with its file"
    assert ledger.open_from() == HOUR.next
    assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)
    story.close()


def with_half_a_new_header(killed: Path, directory: Path) -> Story:
    """A log that was written into the database, and a disk that failed in the next header's first 16 bytes."""
    story = copied(killed, directory)
    log = wal.path_of(story.path)
    content = log.read_bytes()
    connection = raw_connection(story.path)
    connection.execute("PRAGMA wal_checkpoint(FULL)")
    database = story.path.read_bytes()
    connection.close()
    magic, form, page_bytes, number, salt, *stored = wal.HEADER.unpack(content[: wal.HEADER.size])
    story.path.write_bytes(database)
    log.write_bytes(wal.HEADER.pack(magic, form, page_bytes, number + 1, salt, *stored) + content[wal.HEADER.size :])
    return story


def test_half_a_header_is_no_damage_where_the_database_has_the_log(killed: Path, tmp_path: Path) -> None:
    story = with_half_a_new_header(killed, tmp_path / "copy")
    assert wal.inspect(story.path) == wal.Finding()
    ledger = story.open()
    assert (accepted(ledger), ledger.set_aside) == (PUSHED, None)
    assert story.push(ledger, event(id="0")) == PushAccepted(accepted=0, duplicates=1)
    story.close()


@pytest.mark.parametrize("change", ["a page is older", "a page is missing", "a frame is changed"])
def test_half_a_header_is_damage_where_the_database_lacks_a_page(killed: Path, tmp_path: Path, change: str) -> None:
    story = with_half_a_new_header(killed, tmp_path / "copy")
    content = bytearray(story.path.read_bytes())
    if change == "a frame is changed":
        flip(story, frame_at(frames_of(story) // 2) + wal.FRAME.size + 5)
    elif change == "a page is missing":
        story.path.write_bytes(content[: -wal.PAGE_BYTES])
    else:
        content[2 * wal.PAGE_BYTES + 5] ^= 1
        story.path.write_bytes(content)
    assert wal.inspect(story.path).damage == "its header is not what was written"


def test_a_changed_salt_is_found_in_the_last_frame_too(killed: Path, tmp_path: Path) -> None:
    """Its checksum does not cover it: all of the frame was written."""
    story = copied(killed, tmp_path / "copy")
    for byte in range(8, 16):
        flip(story, frame_at(frames_of(story)) + byte)
        assert wal.inspect(story.path).damage, byte
        flip(story, frame_at(frames_of(story)) + byte)


def test_a_log_in_the_other_byte_order_is_read_as_well(killed: Path, tmp_path: Path) -> None:
    """As SQLite writes it on a big-endian machine; where its header is damaged, its frames still count."""
    story = copied(killed, tmp_path / "copy")
    content = bytearray(wal.path_of(story.path).read_bytes())
    content[3] |= 1
    before = wal.checksum(bytes(content[:24]), (0, 0), swapped=True)
    struct.pack_into(">II", content, 24, *before)
    for number in range(1, frames_of(story) + 1):
        at = frame_at(number)
        before = wal.checksum(bytes(content[at : at + 8] + content[at + 24 : at + wal.FRAME_BYTES]), before, True)
        struct.pack_into(">II", content, at + 16, *before)
    wal.path_of(story.path).write_bytes(content)
    assert wal.inspect(story.path).damage is None
    flip(story, 3)
    assert wal.inspect(story.path).damage
    flip(story, 3)
    assert accepted(story.open()) == PUSHED
    story.close()


def test_a_log_cut_off_anywhere_is_a_torn_one(killed: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    size = wal.path_of(copied(killed, tmp_path / "copy").path).stat().st_size
    for length in [0, 1, 31, 32, 33, *(chance.randrange(size) for _ in range(40)), size - 1]:
        story = copied(killed, tmp_path / "copy")
        os.truncate(wal.path_of(story.path), length)
        assert wal.inspect(story.path).damage is None, length
    ledger = story.open()
    assert ledger.set_aside is None
    assert PUSHED - 1 <= accepted(ledger) <= PUSHED
    assert balanced(ledger)
    story.close()


def test_garbage_behind_the_last_commit_is_a_torn_end(killed: Path, tmp_path: Path) -> None:
    story = copied(killed, tmp_path / "copy")
    with wal.path_of(story.path).open("ab") as file:
        file.write(bytes(wal.FRAME_BYTES) + random.Random(1).randbytes(3 * wal.FRAME_BYTES))
    assert wal.inspect(story.path).damage is None
    assert accepted(story.open()) == PUSHED
    story.close()


def commits(story: Story) -> list[int]:
    """The numbers of the frames that commit."""
    content = wal.path_of(story.path).read_bytes()
    found = range(1, frames_of(story) + 1)
    return [number for number in found if struct.unpack_from(">II", content, frame_at(number))[1]]


def zero(story: Story, begin: int, end: int) -> None:
    """Make bytes of the log what they are in a file that grew, and of which they never reached the disk."""
    with wal.path_of(story.path).open("r+b") as file:
        file.seek(begin)
        file.write(bytes(end - begin))


@pytest.fixture
def long_commit(tmp_path: Path) -> tuple[Path, int]:
    """The files of a ledger with 30 pushes and a long one that was not acknowledged, and the latter's first frame."""
    story = Story(tmp_path / "live")
    ledger = story.open()
    for number in range(30):
        assert story.push(ledger, event(id=str(number))) == PushAccepted(accepted=1, duplicates=0)
    first = frames_of(story) + 1
    story.push(ledger, *(event("gigabytes", id=f"long-{number}") for number in range(900)))
    assert frames_of(story) > first + 8
    shutil.copytree(story.directory, tmp_path / "killed")
    story.close()
    return tmp_path / "killed", first


def test_a_block_that_a_power_cut_lost_costs_the_last_commit_alone(
    long_commit: tuple[Path, int], tmp_path: Path
) -> None:
    """Wherever the block of the disk is: its pushes were not acknowledged, but a changed disk looks the same."""
    files, first = long_commit
    size = wal.path_of(copied(files, tmp_path / "copy").path).stat().st_size
    told = 0
    for block in range(frame_at(first) // 4096, size // 4096 + 1):
        story = copied(files, tmp_path / "copy")
        zero(story, max(block * 4096, frame_at(first)), min(block * 4096 + 4096, size))
        doubts: list[Path] = []
        ledger = story.open(on_doubt=doubts.append)
        assert (accepted(ledger), accepted(ledger, "gigabytes"), ledger.set_aside) == (30, 0, None), block
        assert balanced(ledger)
        told += doubts == [story.path]
        story.close()
    assert told >= 7, "all but those that took the end of the commit"


def test_a_changed_bit_in_the_last_commit_is_told_and_costs_nothing_else(
    long_commit: tuple[Path, int], tmp_path: Path
) -> None:
    files, first = long_commit
    last = frames_of(copied(files, tmp_path / "copy"))
    chance = random.Random(7)
    for number in range(first, last):
        story = copied(files, tmp_path / "copy")
        flip(story, page_at(chance, number))
        found = wal.inspect(story.path)
        assert (found.damage, found.in_doubt) == (None, True), number


@pytest.mark.parametrize("lost", [0, 1, 4])
def test_a_torn_end_that_was_written_over_is_no_damage(
    long_commit: tuple[Path, int], tmp_path: Path, lost: int
) -> None:
    """A shorter commit lies over its start: what is left of it must not look like one behind a changed frame."""
    files, first = long_commit
    story = copied(files, tmp_path / "copy")
    zero(story, frame_at(first + lost), frame_at(first + lost + 1))
    ledger = story.open()
    assert story.push(ledger, event(id="new")) == PushAccepted(accepted=1, duplicates=0)
    again = copied(story.directory, tmp_path / "again")
    story.close()
    doubts: list[Path] = []
    ledger = again.open(on_doubt=doubts.append)
    assert (accepted(ledger), ledger.set_aside, doubts) == (31, None, [])
    again.close()


def test_a_neighbour_whose_last_commit_is_in_doubt_is_adopted(long_commit: tuple[Path, int], tmp_path: Path) -> None:
    files, first = long_commit
    story = copied(files, tmp_path / "copy")
    flip(story, frame_at(first) + 100)
    ours = Story(story.directory, owner=replace(OWNER, workload="pod-2"))
    ledger = ours.open()
    (adopted,) = ledger.adopt(ours.now)
    assert (adopted.skipped, adopted.in_doubt) == ("", True)
    assert [one.amount for one in adopted.amounts] == [30]
    (adopted,) = ledger.adopt(ours.now)
    assert not adopted.in_doubt, "told once"
    ours.close()


def test_an_opening_that_cannot_report_a_doubt_leaves_the_log_as_it_is(
    long_commit: tuple[Path, int], tmp_path: Path
) -> None:
    """SQLite deletes the log when it closes the file: the next process would not learn of it."""
    files, first = long_commit
    story = copied(files, tmp_path / "copy")
    flip(story, frame_at(first) + 100)
    before = wal.path_of(story.path).read_bytes()
    with pytest.raises(LedgerError, match="its last commit is not whole"):
        open_known(story.path, OWNER, story.now)
    assert wal.path_of(story.path).read_bytes() == before


def test_a_hole_before_the_last_commit_is_damage(killed: Path, tmp_path: Path) -> None:
    """It was on disk before the next one was begun."""
    story = copied(killed, tmp_path / "copy")
    with wal.path_of(story.path).open("r+b") as file:
        file.seek(frame_at(commits(story)[-3] + 1))
        file.write(bytes(wal.FRAME_BYTES))
    assert wal.inspect(story.path).damage


def test_frames_of_an_earlier_use_of_the_log_do_not_count(story: Story) -> None:
    """After a checkpoint SQLite writes over them, from the start, with another salt."""
    ledger = story.open()
    for number in range(60):
        story.push(ledger, event(id=str(number)))
    ledger._writer.run(lambda connection: None)
    connection = ledger._writer._connection
    assert connection is not None
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    story.push(ledger, event(id="after"))
    content = wal.path_of(story.path).read_bytes()
    assert len(content) > 20 * wal.FRAME_BYTES, "the old frames are there"
    assert wal.inspect(story.path).damage is None
    story.close()


@pytest.fixture
def rolled_back(story: Story, tmp_path: Path) -> tuple[Story, int, int]:
    """Frames of a transaction that was given up, behind three commits, without one of their own.

    The files of such a ledger, and where its last two commits end.
    """
    ledger = story.open()
    story.push(ledger, event(id="first"))

    def spilled() -> None:
        connection = ledger._writer._connection
        assert connection is not None
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        for number in range(2000):
            connection.execute("INSERT INTO seen VALUES (?, ?)", (f"{number:016}".encode(), b"c" * 16))
        connection.execute("ROLLBACK")

    ledger._writer.run(lambda connection: None)
    before = frames_of(story)
    spilled()
    left = frames_of(story)
    assert left > before + 5
    story.push(ledger, event(id="second"))
    assert wal.inspect(story.path).damage is None
    story.push(ledger, event(id="third"))
    *_, second, third = (number for number in commits(story) if number <= left)
    assert left > third > second + 1, "a commit of several pages, before what was left"
    shutil.copytree(story.directory, tmp_path / "copy")
    story.close()
    return Story(tmp_path / "copy"), second, third


def test_what_a_full_disk_or_a_rollback_left_is_no_damage(rolled_back: tuple[Story, int, int]) -> None:
    story, *_ = rolled_back
    assert wal.inspect(story.path).damage is None
    ledger = story.open()
    assert (accepted(ledger), ledger.set_aside) == (3, None)
    story.close()


def test_a_commit_that_a_power_cut_tore_before_what_was_left_costs_itself_alone(
    rolled_back: tuple[Story, int, int],
) -> None:
    story, second, _ = rolled_back
    zero(story, frame_at(second + 1), frame_at(second + 2))
    doubts: list[Path] = []
    ledger = story.open(on_doubt=doubts.append)
    assert (accepted(ledger), ledger.set_aside, len(doubts)) == (2, None, 1)
    story.close()


def test_a_changed_bit_in_an_earlier_commit_is_found_before_what_was_left(
    rolled_back: tuple[Story, int, int],
) -> None:
    story, second, _ = rolled_back
    flip(story, frame_at(second) + wal.FRAME.size + 100)
    assert wal.inspect(story.path).damage


def test_the_damaged_log_of_a_neighbour_is_left_alone(killed: Path, tmp_path: Path) -> None:
    story = copied(killed, tmp_path / "copy")
    flip(story, frame_at(5) + 100)
    before = {path.name: path.read_bytes() for path in story.directory.iterdir()}
    ours = Story(story.directory, owner=replace(OWNER, workload="pod-2"))
    ledger = ours.open()
    (adopted,) = ledger.adopt(ours.now)
    assert adopted.skipped == "ledger_corrupt"
    assert accepted(ledger) == 0
    names = (story.path.name, wal.path_of(story.path).name)
    assert {name: (story.directory / name).read_bytes() for name in names} == {name: before[name] for name in names}
    ours.close()


def test_a_ledger_without_a_log_has_no_damage(story: Story) -> None:
    assert wal.inspect(story.path).damage is None


def test_words_of_the_other_order_are_added_up_as_sqlite_does() -> None:
    data = bytes(range(16))
    first, second = 0, 0
    for one, other in struct.iter_unpack(">II", data):
        first = (first + one + second) % 2**32
        second = (second + other + first) % 2**32
    assert wal.checksum(data, (0, 0), swapped=True) == (first, second)


def test_a_log_is_written_again_as_it_was(story: Story) -> None:
    story.push(story.open(), event())
    log = wal.path_of(story.path)
    before = log.read_bytes()
    os.utime(log, (0, 0))
    wal.renew(story.path)
    assert log.read_bytes() == before
    assert os.stat(log).st_mtime_ns > 0, "it was written to"
    wal.renew(story.directory / "no ledger")
