"""What was acknowledged is on disk, once."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.ledger.pushes import ROWS_MAX
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.push_group import PushResult
from sidecar.metering.states import State
from tests.integration.ledger.support import HOUR, NOON, Story, accepted, balanced, event, held_back, raw_connection

MOST = "9999999999.999999"


def status(result: PushResult) -> int:
    return result.status if isinstance(result, PushRefused) else 200


def test_an_id_is_known_after_a_restart_and_in_another_hour(story: Story) -> None:
    sent = event(id="a")
    assert story.push(story.open(), sent) == PushAccepted(accepted=1, duplicates=0)
    story.close()
    story.now += timedelta(hours=5)
    ledger = story.open()
    assert story.push(ledger, sent, event(id="b")) == PushAccepted(accepted=1, duplicates=1)
    assert accepted(ledger) == 2


def test_an_id_with_other_content_is_refused_whole(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(id="a"))
    result = story.push(ledger, event(id="b"), event(id="a", quantity="2"))
    assert isinstance(result, PushRefused)
    assert (result.status, result.index) == (409, 1)
    assert accepted(ledger) == 1


def test_an_id_is_known_for_a_day_and_not_for_ever(story: Story) -> None:
    ledger = story.open()
    sent = event(id="a")
    story.push(ledger, sent)
    for hours, duplicates in ((23, 1), (24, 1), (47, 1), (48, 0)):
        story.now = NOON + timedelta(hours=hours)
        story.push(ledger, event(id=f"tick {hours}"))
        assert story.push(ledger, sent) == PushAccepted(accepted=1 - duplicates, duplicates=duplicates), hours
    assert balanced(ledger)


def test_a_clock_that_jumped_a_week_ahead_and_back_forgets_no_id(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(id="a"))
    for now in (NOON + timedelta(days=7), NOON):
        story.now = now
        assert story.push(ledger, event(id="a")) == PushAccepted(accepted=0, duplicates=1)


def test_a_sum_that_leaves_64_bits_is_refused_and_nothing_wraps(story: Story) -> None:
    ledger = story.open()
    assert story.push(ledger, *[event(quantity=MOST)] * 922) == PushAccepted(accepted=922, duplicates=0)
    result = story.push(ledger, event(), event(quantity=MOST))
    assert isinstance(result, PushRefused)
    assert (result.status, result.reason, result.index) == (422, "quantity_out_of_range", 1)
    assert accepted(ledger) == 922 * Decimal(MOST)
    assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)
    assert balanced(ledger)


def test_a_single_request_above_64_bits_is_refused(story: Story) -> None:
    ledger = story.open()
    result = story.push(ledger, *[event(quantity=MOST)] * 1000)
    assert isinstance(result, PushRefused)
    assert result.index == 922
    assert accepted(ledger) == 0
    assert balanced(ledger)


def test_late_sums_that_leave_64_bits_together_are_refused(story: Story) -> None:
    """Each tag set fits for itself; the link to their hour would not."""
    ledger = story.open()
    late = [
        event("gigabytes", MOST, at=NOON - timedelta(hours=1), tags=(("tenant", str(number % 2)),))
        for number in range(1000)
    ]
    result = story.push(ledger, *late)
    assert isinstance(result, PushRefused)
    assert (result.status, result.reason) == (422, "quantity_out_of_range")
    assert accepted(ledger, "gigabytes") == 0


def test_of_a_group_only_bad_requests_are_refused(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(id="a"))
    go, results = held_back(ledger), dict[int, PushResult]()
    requests = [
        [event(id="b"), event(id="c")],
        [event(id="d"), event(id="a", quantity="2")],  # conflict with what is on disk
        [event(id="c", quantity="3")],  # conflict within the group
        [event(quantity=MOST)] * 1000,  # out of range
        [event("peak", at=NOON - timedelta(hours=2))],  # a sealed hour
        [event(id="c"), event(id="d")],
    ]
    for number, events in enumerate(requests):
        ledger.begin_push(events, NOON, lambda result, number=number: results.__setitem__(number, result))  # type: ignore[misc]
    before = ledger.counters.commits
    go.set()
    assert story.push(ledger, event(id="a")) == PushAccepted(accepted=0, duplicates=1)
    assert [status(results[number]) for number in range(6)] == [200, 409, 409, 422, 422, 200]
    assert results[5] == PushAccepted(accepted=1, duplicates=1)
    assert ledger.counters.commits - before <= 3, "the hold, the group, and the last push if it came after"
    assert accepted(ledger) == 4
    assert balanced(ledger)


def test_commit_pending_writes_what_was_pushed_before_it_together(story: Story) -> None:
    ledger = story.open()
    results: list[PushResult] = []
    before = ledger.counters.commits
    for name in "abc":
        ledger.begin_push([event(id=name)], NOON, results.append)
    assert results == []
    ledger.commit_pending()
    ledger.commit_pending()
    assert ledger.open_from() <= HOUR, "asked behind them, so they are answered by now"
    assert {status(result) for result in results} == {200}
    assert ledger.counters.commits - before == 2, "theirs, and that of the question"


@pytest.mark.parametrize("end", ["seal", "stop", "close"])
def test_no_pending_push_is_lost_at_the_end(story: Story, end: str) -> None:
    ledger = story.open()
    results: list[PushResult] = []
    ledger.begin_push([event(id="a")], NOON, results.append)
    {"seal": lambda: ledger.open_hours(), "stop": ledger.stop_pushes, "close": ledger.close}[end]()
    assert [status(result) for result in results] == [200]


def test_concurrent_pushes_share_commits(story: Story) -> None:
    ledger = story.open()
    go, each, wrong = held_back(ledger), 50, []

    def client(name: int) -> None:
        for number in range(each):
            if ledger.push([event(id=f"{name}-{number}")], NOON) != PushAccepted(accepted=1, duplicates=0):
                wrong.append((name, number))

    threads = [threading.Thread(target=client, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert accepted(ledger) == 16 * each
    assert ledger.counters.accepted == 16 * each
    assert ledger.counters.commits < 16 * each / 2
    assert balanced(ledger)


def test_the_pushes_of_a_group_get_their_results_in_order(story: Story) -> None:
    ledger, got = story.open(), list[int]()
    go = held_back(ledger)
    for number in range(3):
        ledger.begin_push([event()], NOON, lambda _, number=number: got.append(number))  # type: ignore[misc]
    go.set()
    ledger.balances()
    assert got == [0, 1, 2]


def test_every_aggregation_keeps_what_it_needs(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event("peak", "3"), event("peak", "7"), event("level", "9"), event("users", key="x"))
    story.push(ledger, event("peak", "5"), event("level", "4"), event("users", key="x"), event("users", key="y"))
    got = {record.dimension: record.quantity for record in ledger.in_state(State.OPEN)}
    assert got == {"peak": 7, "level": 4, "users": 2}


def test_a_push_may_bring_tag_sets_that_are_known_and_new_ones(story: Story) -> None:
    ledger = story.open()
    one, two, three = ((("tenant", name),) for name in "abc")
    story.push(ledger, event("gigabytes", "1", tags=two))
    both = [event("gigabytes", "2", tags=one), event("gigabytes", "4", tags=two), event("gigabytes", "8", tags=three)]
    story.push(ledger, *both, event("requests", "16"))
    story.push(ledger, *both, event("requests", "32"))
    story.close()
    rows = raw_connection(story.path).execute("SELECT dimension, tags, events, sum / 1000000 FROM bucket").fetchall()
    assert sorted(rows) == [
        ("gigabytes", '[["tenant","a"]]', 2, 4),
        ("gigabytes", '[["tenant","b"]]', 3, 9),
        ("gigabytes", '[["tenant","c"]]', 2, 16),
        ("requests", "[]", 2, 48),
    ]


def test_the_last_value_is_that_of_the_last_instant_whatever_the_order_of_pushes(story: Story) -> None:
    ledger = story.open()
    found = []
    for quantity, ago in (("5", 3), ("9", 5), ("8", 4), ("6", 3), ("7", 2), ("1", 3)):
        story.push(ledger, event("level", quantity, at=NOON - timedelta(minutes=ago)))
        (record,) = ledger.in_state(State.OPEN)
        found.append(record.quantity)
    assert found == [5, 5, 5, 6, 7, 7], "of two that are as late, the one that came later"


@pytest.mark.parametrize("count", [1, ROWS_MAX - 1, ROWS_MAX, ROWS_MAX + 1, 2 * ROWS_MAX, 2 * ROWS_MAX + 1])
def test_a_push_counts_any_number_of_tag_sets(story: Story, count: int) -> None:
    ledger = story.open()
    events = [event("gigabytes", str(1 + n), tags=(("tenant", f"t{n}"),)) for n in range(count)]
    story.push(ledger, *events[: count // 2])
    story.push(ledger, *events)
    story.close()
    rows = raw_connection(story.path).execute("SELECT tags, events, sum / 1000000 FROM bucket").fetchall()
    twice = count // 2
    assert sorted(rows) == sorted(
        (f'[["tenant","t{n}"]]', 2 if n < twice else 1, (1 + n) * (2 if n < twice else 1)) for n in range(count)
    )


def test_late_usage_is_linked_to_its_hour(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="2", at=NOON - timedelta(hours=3)))
    (record,) = story.seal(ledger)
    found = ledger.find(record.hour, record.dimension)
    assert found is not None
    assert (found.hour, found.quantity) == (HOUR, 2)
    assert ledger.earlier_hours(found) == (HOUR.previous.previous.previous,)


def test_after_closing_pushes_are_refused(story: Story) -> None:
    ledger = story.open()
    ledger.close()
    result = story.push(ledger, event())
    assert isinstance(result, PushRefused)
    assert (result.status, result.reason) == (503, "shutting_down")


def test_a_sealed_hour_is_reported_before_a_conflict(story: Story) -> None:
    """The order of refusals is the contract's: 422 before 409."""
    ledger = story.open()
    at = story.now
    story.push(ledger, event("peak", "2", id="a", at=at))
    story.seal(ledger)
    result = story.push(ledger, event("peak", "3", id="a", at=at))
    assert isinstance(result, PushRefused)
    assert (result.status, result.reason) == (422, "hour_sealed")


def test_a_value_of_a_sealed_hour_refuses_its_request_and_no_other_of_the_group(story: Story) -> None:
    ledger = story.open()
    at = story.now
    story.push(ledger, event())
    story.seal(ledger)
    results: list[PushResult] = []
    late = event("peak", "3", at=at)
    for sent in ([event()], [late], [event(), late._replace(id="new")], [event(id="a"), event(id="b")]):
        ledger.begin_push(sent, story.now, results.append)
    assert story.push(ledger, event()) == PushAccepted(accepted=1, duplicates=0)
    assert [(one.reason, one.index) for one in results if isinstance(one, PushRefused)] == [
        ("hour_sealed", 0),
        ("hour_sealed", 1),
    ]
    assert [one.accepted for one in results if isinstance(one, PushAccepted)] == [1, 2]
    assert (accepted(ledger), accepted(ledger, "peak")) == (5, 0)
    assert balanced(ledger)


@pytest.mark.parametrize("together", [True, False])
def test_a_clock_set_back_leaves_the_value_that_came_last(story: Story, together: bool) -> None:
    """On disk as in one group of pushes."""
    ledger = story.open()
    go = held_back(ledger) if together else None
    results: list[PushResult] = []
    for minutes, value in ((0, "4"), (-5, "9")):
        ledger.begin_push([event("level", value)], NOON + timedelta(minutes=minutes), results.append)
        ledger.commit_pending()
        if go is None:
            ledger.check(NOON)
    if go is not None:
        go.set()
    ledger.check(NOON)
    assert len(results) == 2
    assert accepted(ledger, "level") == 9
    assert balanced(ledger)


def test_of_events_that_say_when_the_latest_is_last(story: Story) -> None:
    """What a product sends again or late replaces nothing newer, whatever came in between."""
    ledger = story.open()
    story.push(ledger, event("level", "4", at=NOON))
    story.push(ledger, event("level", "9", at=NOON - timedelta(minutes=5)))
    assert accepted(ledger, "level") == 4
    story.push(ledger, event("level", "6"))
    assert accepted(ledger, "level") == 6
    story.push(ledger, event("level", "1", at=NOON - timedelta(minutes=1)))
    assert accepted(ledger, "level") == 6
