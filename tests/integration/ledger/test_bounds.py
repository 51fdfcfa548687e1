"""What one hour takes on disk has an end, and what is refused there says why."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from sidecar.ledger import bounds
from sidecar.metering import hour_bounds
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.push_group import PushResult
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import HOUR, OWNER, Story, accepted, balanced, event, held_back, raw_connection


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour_bounds, "TAG_SETS_MAX", 3)
    monkeypatch.setattr(hour_bounds, "KEYS_MAX", 3)


def tagged(number: int, **more: object) -> UsageEvent:
    return event("gigabytes", "1000", tags=(("tenant", f"t{number}"),), **more)


def keyed(number: int, **more: object) -> UsageEvent:
    return event("users", key=f"u{number}", **more)


KINDS = pytest.mark.parametrize(
    ("make", "reason", "dimension"),
    [(tagged, "too_many_tag_sets", "gigabytes"), (keyed, "too_many_keys", "users")],
    ids=["tags", "keys"],
)


def refused(result: PushResult) -> tuple[int, str, int | None]:
    assert isinstance(result, PushRefused)
    return result.status, result.reason, result.index


def taken(result: PushResult) -> int:
    assert isinstance(result, PushAccepted), result
    return result.accepted


@KINDS
def test_at_the_bound_a_new_one_is_refused_and_a_known_one_taken(
    story: Story, make: object, reason: str, dimension: str
) -> None:
    ledger = story.open()
    for number in range(3):
        assert taken(story.push(ledger, make(number))) == 1  # type: ignore[operator]
    result = story.push(ledger, make(9))  # type: ignore[operator]
    assert refused(result) == (422, reason, 0)
    assert dimension in str(result)
    assert "has 3 of them" in str(result)
    assert [taken(story.push(ledger, make(number))) for number in range(3)] == [1] * 3  # type: ignore[operator]
    assert balanced(ledger)


@KINDS
def test_a_push_above_the_bound_is_refused_whole_at_its_first_new_one(
    story: Story, make: object, reason: str, dimension: str
) -> None:
    ledger = story.open()
    story.push(ledger, make(0), make(1))  # type: ignore[operator]
    before = accepted(ledger, dimension)
    sent = [make(0), make(2), make(2), make(1), make(3), make(4)]  # type: ignore[operator]
    assert refused(story.push(ledger, *sent)) == (422, reason, 4)
    assert accepted(ledger, dimension) == before
    assert taken(story.push(ledger, *sent[:4])) == 4


@KINDS
def test_the_bound_holds_after_a_restart(story: Story, make: object, reason: str, dimension: str) -> None:
    story.push(story.open(), make(0), make(1), make(2))  # type: ignore[operator]
    story.close()
    ledger = story.open()
    assert refused(story.push(ledger, make(3))) == (422, reason, 0)  # type: ignore[operator]
    assert taken(story.push(ledger, make(2))) == 1  # type: ignore[operator]


@KINDS
def test_the_next_hour_has_its_own_bound(story: Story, make: object, reason: str, dimension: str) -> None:
    ledger = story.open()
    story.push(ledger, make(0), make(1), make(2))  # type: ignore[operator]
    story.seal(ledger)
    assert taken(story.push(ledger, make(3), make(4), make(5))) == 3  # type: ignore[operator]
    assert refused(story.push(ledger, make(6))) == (422, reason, 0)  # type: ignore[operator]


@KINDS
def test_of_pushes_that_are_written_together_only_those_above_are_refused(
    story: Story, make: object, reason: str, dimension: str
) -> None:
    ledger = story.open()
    results: dict[int, PushResult] = {}
    go = held_back(ledger)
    for number in range(5):
        ledger.begin_push([make(number, id=f"i{number}")], story.now, lambda got, n=number: results.update({n: got}))  # type: ignore[misc, operator]
    ledger.commit_pending()
    go.set()
    story.push(ledger, event())
    assert [taken(results[number]) for number in range(3)] == [1] * 3
    assert [refused(results[number]) for number in (3, 4)] == [(422, reason, 0)] * 2
    assert balanced(ledger)
    assert taken(story.push(ledger, event(id="i4"))) == 1, "a refused push leaves no id"


def test_a_duplicate_is_one_at_the_bound_too(story: Story) -> None:
    ledger = story.open()
    sent = [tagged(number, id=f"i{number}") for number in range(3)]
    story.push(ledger, *sent)
    assert story.push(ledger, *sent) == PushAccepted(accepted=0, duplicates=3)
    assert refused(story.push(ledger, *sent, tagged(7, id="new"))) == (422, "too_many_tag_sets", 3)


def test_untagged_usage_is_never_too_many(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, *map(tagged, range(3)))
    assert taken(story.push(ledger, event("gigabytes"), event("requests"))) == 2


def test_what_a_failed_commit_did_not_write_leaves_its_room(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, tagged(0), tagged(1))
    real = ledger._writer._connection

    class Fails:
        def execute(self, text: str, *more: object) -> object:
            if text == "COMMIT":
                assert real is not None
                real.execute("ROLLBACK")
                raise sqlite3.OperationalError("disk I/O error")
            return real.execute(text, *more)  # type: ignore[union-attr]

        def executemany(self, text: str, rows: object) -> object:
            return real.executemany(text, rows)  # type: ignore[arg-type, union-attr]

        in_transaction = False
        ids = real.ids  # type: ignore[union-attr]

    ledger._writer._connection = Fails()  # type: ignore[assignment]
    assert refused(story.push(ledger, tagged(2)))[0] == 503
    ledger._writer._connection = real
    assert taken(story.push(ledger, tagged(3))) == 1
    assert refused(story.push(ledger, tagged(4))) == (422, "too_many_tag_sets", 0)


def test_what_is_rolled_forward_or_taken_over_is_not_bounded(story: Story, tmp_path: Path) -> None:
    gone = Story(tmp_path, owner=replace(OWNER, workload="pod-0"))
    there = gone.open()
    gone.push(there, *map(tagged, range(3)))
    gone.close()
    ledger = story.open()
    story.push(ledger, *map(tagged, range(5, 8)))
    ledger.adopt(story.now)
    assert accepted(ledger, "gigabytes") == 6
    story.now += timedelta(minutes=1)
    (record,) = story.seal(ledger)
    assert record.request is not None
    assert len(record.request.allocations) == 6
    assert balanced(ledger)


def test_an_hour_that_an_older_version_filled_higher_is_still_taken(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(hour_bounds, "TAG_SETS_MAX", 100)
        story.push(story.open(), *map(tagged, range(6)))
        story.close()
    ledger = story.open()
    assert taken(story.push(ledger, tagged(5))) == 1
    assert refused(story.push(ledger, tagged(6))) == (422, "too_many_tag_sets", 0)


@KINDS
def test_what_an_hour_has_is_taken_when_it_is_counted_again_above_the_bound(
    story: Story, monkeypatch: pytest.MonkeyPatch, make: object, reason: str, dimension: str
) -> None:
    ledger = story.open()
    with monkeypatch.context() as patch:
        patch.setattr(hour_bounds, "TAG_SETS_MAX", 100)
        patch.setattr(hour_bounds, "KEYS_MAX", 100)
        for number in range(6):
            story.push(ledger, make(number))  # type: ignore[operator]
    assert [taken(story.push(ledger, make(number))) for number in range(6)] == [1] * 6  # type: ignore[operator]
    assert refused(story.push(ledger, make(6))) == (422, reason, 0)  # type: ignore[operator]


def test_a_push_below_the_bound_asks_the_disk_once_for_its_hour(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour_bounds, "TAG_SETS_MAX", 1000)
    asked: list[str] = []
    real = bounds._count
    monkeypatch.setattr(bounds, "_count", lambda connection, slot: asked.append(slot.kind) or real(connection, slot))
    ledger = story.open()
    for number in range(20):
        story.push(ledger, tagged(number))
    assert asked == ["tag_sets"]


@pytest.mark.parametrize(
    ("tag_sets", "present", "count"),
    [(3, range(10, 20), range(10, 20)), (9, range(90, 100), range(1, 2))],
    ids=["few tag sets", "nearly as many as the bound"],
)
def test_usage_of_known_tag_sets_asks_the_disk_seldom_and_counts_only_where_that_spares_questions(
    story: Story, monkeypatch: pytest.MonkeyPatch, tag_sets: int, present: range, count: range
) -> None:
    monkeypatch.setattr(hour_bounds, "TAG_SETS_MAX", 10)
    ledger = story.open()
    story.push(ledger, *map(tagged, range(tag_sets)))
    asked = {"present": 0, "_count": 0}

    def counted(name: str, real: Callable[..., object], *args: object) -> object:
        asked[name] += 1
        return real(*args)

    for name in asked:
        monkeypatch.setattr(bounds, name, partial(counted, name, getattr(bounds, name)))
    for number in range(100):
        assert taken(story.push(ledger, tagged(number % tag_sets))) == 1
    assert asked["present"] in present
    assert asked["_count"] in count
    assert taken(story.push(ledger, *map(tagged, range(10)))) == 10
    assert refused(story.push(ledger, tagged(10))) == (422, "too_many_tag_sets", 0)


def test_what_is_on_disk_stays_at_the_bound(story: Story) -> None:
    ledger = story.open()
    for number in range(10):
        story.push(ledger, tagged(number), keyed(number))
    for number in range(10):
        story.push(ledger, tagged(number))
        story.push(ledger, keyed(number))
    story.close()
    connection = raw_connection(story.path)
    for table in ("bucket WHERE dimension = 'gigabytes'", "unique_key"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (3,), table
    assert connection.execute("SELECT DISTINCT hour FROM bucket").fetchall() == [(HOUR.number,)]
    connection.close()
