"""A workload that is gone leaves usage behind; another bills what it may, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.ledger import adoption, seen_ids
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.states import State
from tests.integration.ledger.support import OWNER, Story, accepted, balanced, event


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Story]:
    told = Story(tmp_path, owner=replace(OWNER, workload="pod-0"))
    yield told
    told.close()


def left_behind(gone: Story) -> None:
    """One settled, one unknown, one never sent, one carried remainder, one open hour."""
    ledger = gone.open()
    gone.push(ledger, event(quantity="100.5"))
    (settled,) = gone.seal(ledger)
    ledger.save(replace(settled, state=State.SETTLED, record_id="x"), gone.now, outcome="settled")
    gone.push(ledger, event(quantity="20"))
    (unknown,) = gone.seal(ledger)
    ledger.mark_sending([unknown])
    gone.push(ledger, event(quantity="3"))
    gone.seal(ledger)
    gone.push(ledger, event(quantity="0.25"), event("gigabytes", "1500", tags=(("tenant", "x"),)))
    gone.close()


def test_what_may_be_billed_is_taken_and_counted_once(story: Story, gone: Story) -> None:
    left_behind(gone)
    story.now = gone.now + timedelta(hours=1)
    ledger = story.open()
    (adopted,) = ledger.adopt(story.now)
    assert sum(one.amount for one in adopted.amounts if one.dimension == "requests") == Decimal("3.75")
    assert adopted.left == 1, "whose outcome is unknown"
    assert accepted(ledger) == Decimal("3.75")
    assert ledger.adopt(story.now)[0].amounts == ()
    assert balanced(ledger)
    requests, gigabytes = story.seal(ledger)
    assert requests.quantity == 3
    assert gigabytes.request is not None
    assert [one.tags for one in gigabytes.request.allocations] == [(("tenant", "x"),)]
    found = ledger.find(requests.hour, "requests")
    assert found is not None
    assert ledger.earlier_hours(found), "linked to the hour it was used in"
    theirs = gone.open()
    assert balanced(theirs)
    assert accepted(theirs) == Decimal("120"), "settled and unknown"
    assert [one.last_error for one in theirs.in_state(State.REJECTED)] == ["outcome_unknown"]


@pytest.mark.parametrize("step", ["take", "_mark_taken"])
def test_a_crash_between_two_files_takes_nothing_twice(
    story: Story, gone: Story, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(gone)
    ledger = story.open()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adoption, step, dies)
        with pytest.raises(KeyboardInterrupt):
            ledger.adopt(story.now)
    assert balanced(ledger)
    assert balanced(gone.open())
    gone.close()
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal("3.75")
    assert accepted(gone.open()) == Decimal("120")


def test_what_one_claimed_before_it_died_no_other_takes(
    story: Story, gone: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(gone)
    first = Story(story.directory, owner=replace(OWNER, workload="pod-2"))

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adoption, "_mark_taken", dies)
        with pytest.raises(KeyboardInterrupt):
            first.open().adopt(story.now)
    ledger = story.open()
    assert any(one.left > 1 for one in ledger.adopt(story.now)), "said"
    assert accepted(ledger) == 0
    first.close()
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal("3.75"), "once, from the ledger that took it"


def test_a_living_workload_keeps_its_own(story: Story, gone: Story) -> None:
    living = gone.open()
    gone.push(living, event())
    (adopted,) = story.open().adopt(story.now)
    assert (adopted.skipped, adopted.amounts) == ("ledger_locked", ())


@pytest.mark.parametrize("change", [{"product_code": "other"}, {"region": "eu-west-1"}])
def test_another_product_or_region_is_left_alone(story: Story, gone: Story, change: dict[str, str]) -> None:
    gone.owner = replace(gone.owner, **change)
    gone.push(gone.open(), event())
    gone.close()
    (adopted,) = story.open().adopt(story.now)
    assert adopted.skipped == "ledger_of_another"


def test_rubbish_beside_ours_is_left_alone(story: Story) -> None:
    ledger: Ledger = story.open()
    rubbish = story.directory / "ledger-rubbish.sqlite3"
    for content in (b"", b"rubbish" * 1000):
        rubbish.write_bytes(content)
        (adopted,) = ledger.adopt(story.now)
        assert adopted.skipped in ("ledger_of_another", "ledger_corrupt")
        assert rubbish.read_bytes() == content


# -- ids


def test_an_id_that_the_dead_workload_kept_is_known_to_its_heir(story: Story, gone: Story) -> None:
    gone.push(gone.open(), event(id="a", quantity="2"))
    gone.close()
    heir = story.open()
    heir.adopt(story.now)
    assert story.push(heir, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)
    refused = story.push(heir, event(id="a", quantity="3"))
    assert isinstance(refused, PushRefused)
    assert refused.reason == "id_conflict"
    assert story.push(heir, event(id="b", quantity="2")) == PushAccepted(accepted=1, duplicates=0)


def test_ids_are_passed_on_though_nothing_is_left_to_bill(story: Story, gone: Story) -> None:
    """What the dead workload settled must not be billed again by the next."""
    ledger = gone.open()
    gone.push(ledger, event(id="a", quantity="2"))
    (sealed,) = gone.seal(ledger)
    ledger.save(replace(sealed, state=State.SETTLED, record_id="x"), gone.now, outcome="settled")
    gone.close()
    heir = story.open()
    assert heir.adopt(story.now)[0].amounts == ()
    assert story.push(heir, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)


def test_ids_of_a_workload_that_came_back_and_went_again_are_passed_on_too(story: Story, gone: Story) -> None:
    gone.push(gone.open(), event(id="a", quantity="2"))
    gone.close()
    heir = story.open()
    heir.adopt(story.now)
    gone.push(gone.open(), event(id="b", quantity="5"))
    gone.close()
    (adopted,) = heir.adopt(story.now)
    assert [one.amount for one in adopted.amounts] == [Decimal(5)]
    assert story.push(heir, event(id="b", quantity="5")) == PushAccepted(accepted=0, duplicates=1)


def test_ids_nobody_sends_again_any_more_are_left(story: Story, gone: Story) -> None:
    gone.push(gone.open(), event(id="a", quantity="2"))
    gone.close()
    story.now += timedelta(hours=49)
    heir = story.open()
    heir.adopt(story.now)
    assert story.push(heir, event(id="a", quantity="2")) == PushAccepted(accepted=1, duplicates=0)


def test_the_ids_of_a_living_workload_stay_its_own(story: Story, gone: Story) -> None:
    gone.push(gone.open(), event(id="a", quantity="2"))
    heir = story.open()
    heir.adopt(story.now)
    assert story.push(heir, event(id="a", quantity="2")) == PushAccepted(accepted=1, duplicates=0)


def test_more_ids_than_fit_one_page_are_all_passed_on_once(story: Story, gone: Story) -> None:
    many = [event(id=f"id-{number}") for number in range(seen_ids.COPY_IDS + 7)]
    ledger = gone.open()
    gone.push(ledger, *many)
    gone.close()
    heir = story.open()
    for _ in range(2):
        heir.adopt(story.now)
    assert story.push(heir, *many) == PushAccepted(accepted=0, duplicates=len(many))
