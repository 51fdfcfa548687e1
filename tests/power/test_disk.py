"""What the model of the disk may lose, and what it may not."""

from __future__ import annotations

import random

import pytest

from tests.power.disk import PAGE, SECTOR, Directory, File, Loss


def images(file: File, loss: Loss, count: int = 50) -> set[bytes]:
    """What a file could be after a failure, by chance."""
    return {file.image(loss, random.Random(seed)) for seed in range(count)}


@pytest.mark.parametrize("loss", list(Loss), ids=lambda loss: loss.value)
def test_what_was_synced_is_in_every_image(loss: Loss) -> None:
    directory = Directory()
    file = directory.create("one")
    file.write(0, b"durable")
    file.synced()
    directory.synced()
    assert not directory.unsynced
    assert directory.image(loss, random.Random(1)) == {"one": b"durable"}


def test_what_was_not_synced_may_be_lost_kept_or_torn_at_a_sector() -> None:
    file = File(b"a" * 3 * SECTOR)
    file.write(100, b"b" * 2 * SECTOR)
    assert images(file, Loss.DROPPED) == {b"a" * 3 * SECTOR}
    assert images(file, Loss.KEPT) == {bytes(file.cache)}
    prefixes, mixtures = images(file, Loss.PREFIX), images(file, Loss.REORDERED)
    assert len(prefixes) == 4
    assert len(mixtures) == 8
    for image in prefixes | mixtures:
        for start in range(0, 3 * SECTOR, SECTOR):
            sector = slice(start, start + SECTOR)
            assert image[sector] in (bytes(file.durable[sector]), bytes(file.cache[sector]))


def test_a_size_may_reach_the_disk_without_its_blocks() -> None:
    file = File()
    file.write(0, b"x" * 2 * SECTOR)
    assert bytes(2 * SECTOR) in images(file, Loss.REORDERED, 200)


def test_a_name_is_durable_after_its_directory_was_synced_and_not_before() -> None:
    directory = Directory({"old": b"1"})
    directory.create("new").write(0, b"2")
    directory.names["new"].synced()
    directory.rename("new", "old")
    found = {str(directory.image(Loss.PREFIX, random.Random(seed))) for seed in range(30)}
    assert found == {str({"old": b"1"}), str({"new": b"2", "old": b"1"}), str({"old": b"2"})}
    directory.synced()
    assert directory.image(Loss.DROPPED, random.Random(0)) == {"old": b"2"}


def test_a_removed_file_may_be_there_again_until_the_directory_was_synced() -> None:
    directory = Directory({"gone": b"1"})
    directory.unlink("gone")
    assert directory.image(Loss.DROPPED, random.Random(0)) == {"gone": b"1"}
    directory.synced()
    assert directory.image(Loss.DROPPED, random.Random(0)) == {}


def test_after_a_failed_sync_the_next_one_writes_nothing_of_it() -> None:
    file = File(b"a" * PAGE)
    file.write(0, b"b" * PAGE)
    file.sync_failed(random.Random(1))
    file.synced()
    assert bytes(file.durable) not in (b"b" * PAGE, b"a" * PAGE)
    file.write(5, b"c")
    file.synced()
    assert file.durable == file.cache, "the page was changed again, and is written whole"
