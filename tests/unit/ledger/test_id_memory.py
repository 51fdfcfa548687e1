"""What memory says of ids is never wrong in one direction: an id that is known is never called new."""

from __future__ import annotations

import random

import pytest

from sidecar.ledger.id_memory import ENTRY, ID, SLICES, IdMemory, Place

CHANCE = random.Random(7)
START = Place(turned_at=100, taken=0)


def entries(count: int) -> list[bytes]:
    return sorted(CHANCE.randbytes(ENTRY) for _ in range(count))


def held(memory: IdMemory) -> list[bytes]:
    return [entry for part in range(SLICES) for entry in memory.waiting(part)]


def added(memory: IdMemory, new: list[bytes]) -> Place:
    place = memory.place._replace(taken=memory.place.taken + len(new))
    memory.add(new, place)
    return place


def test_what_was_noted_is_doubtful_and_little_else() -> None:
    memory, known = IdMemory(START), entries(20_000)
    first = memory.note(b"".join(known))
    assert len(first) < 100
    assert memory.note(b"".join(known)) == list(range(len(known)))
    assert len(memory.note(b"".join(entries(20_000)))) < 200


def test_of_two_alike_the_second_is_doubtful() -> None:
    one, other = entries(2)
    assert IdMemory(START).note(one + one + other) == [1]


def test_ids_that_differ_behind_the_first_bytes_only_are_doubtful() -> None:
    one = bytes(ENTRY)
    other = bytes(ID - 1) + b"\x01" + bytes(ENTRY - ID)
    assert IdMemory(START).note(one + other) == [1]


def test_a_content_is_found_by_the_whole_id_at_its_place() -> None:
    """Not where the bytes of an id stand by chance across two entries."""
    memory, one, other = IdMemory(START), bytes([5]) + bytes(ENTRY - 1), bytes([5]) * ENTRY
    memory.load([one, other])
    assert memory.content_of(one) == one[ID:]
    assert memory.content_of(other[:ID] + b"anything") == other[ID:]
    across = (one + other)[9 : 9 + ID]
    assert memory.content_of(across) is None
    shifted = bytes([5, 5]) + bytes(ID - 2)
    memory.load(
        [b"\x05" + b"\x00" * (ID - 1) + bytes([0, 0, 0, 0, 0, 0, 5, 5]), bytes([5]) + bytes(ENTRY - 2) + b"\x01"]
    )
    assert memory.content_of(shifted) is None


@pytest.mark.parametrize("steps", [1, 3])
def test_what_a_rollback_took_back_is_forgotten(steps: int) -> None:
    memory = IdMemory(START)
    before = entries(3000)
    added(memory, before)
    memory.begin()
    place, parts = memory.place, {entry[0] for entry in before[:500]}
    for _ in range(steps):
        added(memory, entries(200))
        for part in parts:
            memory.moved(part)
    assert held(memory) != before
    assert memory.follow(place)
    assert held(memory) == before
    assert memory.place == place


def test_a_rollback_to_the_middle_keeps_what_came_before() -> None:
    memory, first, second = IdMemory(START), entries(40), entries(40)
    place = added(memory, first)
    added(memory, second)
    assert memory.follow(place)
    assert held(memory) == first
    assert memory.follow(place), "a second time nothing happens"
    assert held(memory) == first


def test_what_was_added_before_a_transaction_is_never_taken_back() -> None:
    memory = IdMemory(START)
    place = added(memory, entries(40))
    memory.begin()
    added(memory, entries(40))
    assert not memory.follow(START)
    assert memory.place == place


def test_two_generations_are_known_and_the_one_before_is_forgotten() -> None:
    memory, older, newer = IdMemory(START), entries(500), entries(500)
    memory.note(b"".join(older))
    memory.turn(Place(200, 0))
    assert memory.note(b"".join(newer)) == []
    for known in (older, newer):
        assert len(memory.note(b"".join(known))) == len(known)
    memory.turn(Place(300, 0))
    memory.turn(Place(400, 0))
    assert memory.note(b"".join(sorted([*older, *newer]))) == []


def test_a_generation_whose_begin_was_rolled_back_has_not_begun() -> None:
    memory, before, after = IdMemory(START), entries(300), entries(300)
    place = added(memory, before)
    memory.note(b"".join(before))
    memory.begin()
    memory.turn(Place(200, 0))
    assert held(memory) == []
    memory.note(b"".join(after))
    added(memory, after)
    assert memory.follow(place)
    assert held(memory) == before
    assert len(memory.note(b"".join(before))) == len(before)


def test_a_slice_that_moved_twice_comes_back_whole() -> None:
    memory, before = IdMemory(START), entries(3000)
    place = added(memory, before)
    memory.begin()
    added(memory, entries(5))
    for _ in range(2):
        memory.moved(before[0][0])
    assert memory.follow(place)
    assert held(memory) == before


def test_what_could_be_held_in_part_only_has_to_be_loaded() -> None:
    """As where memory runs out."""
    memory = IdMemory(START)
    place = added(memory, entries(3))
    broken: list[bytes] = [*entries(3), b""]
    with pytest.raises(IndexError):
        memory.add(broken, place._replace(taken=7))
    assert not memory.follow(place)
    assert not memory.follow(START), "not by taking back the step before, either"


@pytest.mark.parametrize(
    "other", [Place(100, 7), Place(101, 40), Place(99, 0)], ids=["fewer ids", "another generation", "an earlier one"]
)
def test_a_place_that_was_never_passed_has_to_be_loaded(other: Place) -> None:
    memory = IdMemory(START)
    added(memory, entries(40))
    assert not memory.follow(other)
