"""A workload that is dead leaves usage behind; another bills what it may, once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.ledger import adoption, handover, seen_ids
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.volume import ledger_path
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.schedule import deadline
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.fakes.faults import killed_in, raising
from tests.integration.ledger.support import DIMENSIONS, OWNER, Story, accepted, balanced, event


def left_behind(dead: Story) -> None:
    """One settled, one unknown, one never sent, one carried remainder, one open hour."""
    ledger = dead.open()
    dead.push(ledger, event(quantity="100.5"))
    (settled,) = dead.seal(ledger)
    ledger.save(replace(settled, state=State.SETTLED, record_id="x"), dead.now, outcome="settled")
    dead.push(ledger, event(quantity="20"))
    (unknown,) = dead.seal(ledger)
    ledger.mark_sending([unknown])
    dead.push(ledger, event(quantity="3"))
    dead.seal(ledger)
    dead.push(ledger, event(quantity="0.25"), event("gigabytes", "1500", tags=(("tenant", "x"),)))
    dead.close()


def test_what_may_be_billed_is_taken_and_counted_once(story: Story, dead: Story) -> None:
    left_behind(dead)
    story.now = dead.now + timedelta(hours=1)
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
    theirs = dead.open()
    assert balanced(theirs)
    assert accepted(theirs) == Decimal("120"), "settled and unknown"
    assert [one.quantity for one in theirs.in_state(State.SEALED)] == [20]


def test_an_unknown_outcome_waits_for_its_own_workload_while_aws_takes_it(story: Story, dead: Story) -> None:
    ledger = dead.open()
    dead.push(ledger, event(quantity="20"))
    (unknown,) = dead.seal(ledger)
    ledger.mark_sending([unknown])
    dead.close()
    story.now = deadline(unknown.hour) - timedelta(minutes=1)
    ours = story.open()
    (found,) = ours.adopt(story.now)
    assert ([one.quantity for one in found.unanswered], found.amounts, found.left) == ([20], (), 1)
    assert accepted(ours) == 0, "in the name of another pod AWS would count it again"
    back = dead.open()
    (again,) = back.due(story.now)
    assert (again.request, again.definite) == (unknown.request, False), "the same, to the byte"
    dead.close()
    (found,) = ours.adopt(story.now + timedelta(minutes=1))
    assert ([one.last_error for one in found.orphans], found.unanswered) == (["outcome_unknown"], ())
    assert accepted(ours) == 0
    assert dead.open().due(story.now + timedelta(minutes=1)) == ()


@pytest.mark.parametrize("step", ["take", "mark_taken"])
def test_a_crash_between_two_files_takes_nothing_twice(
    story: Story, dead: Story, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead)
    ledger = story.open()

    with killed_in(monkeypatch, handover, step):
        ledger.adopt(story.now)
    assert balanced(ledger)
    assert balanced(dead.open())
    dead.close()
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal("3.75")
    assert accepted(dead.open()) == Decimal("120")


def claimed_by(workload: str, step: str, story: Story, patch: pytest.MonkeyPatch) -> Story:
    """A successor that began to take what was left behind, and was stopped at a step; it still runs."""
    made = Story(story.directory, owner=replace(OWNER, workload=workload), now=story.now)
    ledger = made.open()
    with killed_in(patch, handover, step):
        ledger.adopt(made.now)
    return made


SUCCESSORS = ("pod-2", "pod-3", "pod-4", "pod-5")
"""Some come before `pod-0` in the order in which ledgers are looked at, some behind it."""


def test_the_successors_come_before_and_behind_the_dead(dead: Story) -> None:
    names = [ledger_path(dead.directory, name).name for name in SUCCESSORS]
    assert min(names) < dead.path.name < max(names)


@pytest.mark.parametrize("workload", SUCCESSORS)
@pytest.mark.parametrize("step", ["take", "mark_taken"])
def test_what_a_dead_ledger_claimed_is_billed_once(
    story: Story, dead: Story, step: str, workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it died before it took the amounts, or before it noted that it had; and when it comes back."""
    left_behind(dead)
    first = claimed_by(workload, step, story, monkeypatch)
    first.close()
    ledger = story.open()
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal("3.75")
    assert [one.claimed for one in ledger.adopt(story.now)] == [(), ()]
    again = first.open()
    again.adopt(story.now)
    assert (accepted(again), accepted(ledger), accepted(dead.open())) == (0, Decimal("3.75"), 120)
    assert all(map(balanced, (again, ledger, dead.opened[-1])))


def test_a_claim_does_not_move_to_a_ledger_without_the_dimension(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead)
    claimed_by("pod-2", "take", story, monkeypatch).close()
    other = Story(story.directory, owner=replace(OWNER, workload="pod-3"), now=story.now, dimensions=[DIMENSIONS[1]])
    without = other.open()
    without.adopt(story.now)
    assert "requests" not in [one.dimension for one in without.balances()]
    ledger = story.open()
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal("3.75"), "while the other one still runs"
    other.close()


@pytest.mark.parametrize("step", ["take", "mark_taken"])
def test_a_claim_of_a_ledger_in_use_stays(
    story: Story, dead: Story, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead)
    first = claimed_by("pod-2", step, story, monkeypatch)
    ledger = story.open()
    (found,) = [one for one in ledger.adopt(story.now) if one.claimed]
    assert sum(one.amount for one in found.claimed if one.dimension == "requests") == Decimal("3.75"), "named"
    assert accepted(ledger) == 0
    first.opened[-1].adopt(story.now)
    assert accepted(first.opened[-1]) == Decimal("3.75"), "once, by the one that claimed it"
    assert [one.claimed for one in ledger.adopt(story.now) if one.workload] == [()]
    first.close()


def test_a_claim_stays_where_what_was_taken_cannot_be_read(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead)
    first = claimed_by("pod-2", "mark_taken", story, monkeypatch)
    first.close()
    content = first.path.read_bytes()
    ledger = story.open()
    for wrong in (None, b"rubbish" * 1000):
        first.path.unlink(missing_ok=True)
        if wrong:
            first.path.write_bytes(wrong)
        assert any(one.claimed for one in ledger.adopt(story.now))
        assert accepted(ledger) == 0
    first.path.write_bytes(content)
    ledger.adopt(story.now)
    assert accepted(ledger) == Decimal("3.75")


def test_a_claim_stays_where_its_ledger_may_have_forgotten(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead)
    claimed_by("pod-2", "take", story, monkeypatch).close()
    story.now += timedelta(days=34, hours=1)
    ledger = story.open()
    assert any(one.claimed for one in ledger.adopt(story.now))
    assert accepted(ledger) == 0


def test_what_an_older_version_took_and_gave_on_is_not_taken_again(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deleted where an amount came from when that was handed on."""
    left_behind(dead)
    first = claimed_by("pod-2", "mark_taken", story, monkeypatch)
    ledger = first.opened[-1]
    ledger._do(adoption.freeze, ["requests", "gigabytes"], "pod-3's ledger", story.now)
    ledger._do(lambda connection: connection.execute("DELETE FROM rolled"))
    first.close()
    assert any(one.claimed for one in story.open().adopt(story.now))
    assert accepted(story.opened[-1]) == 0


def test_amounts_that_found_no_room_are_named_and_taken_later(
    story: Story, dead: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(dead)
    ledger = story.open()

    with monkeypatch.context() as patch:
        patch.setattr(handover, "take", raising(LedgerError, "ledger_full"))
        (found,) = ledger.adopt(story.now)
    assert (found.skipped, found.amounts, accepted(ledger)) == ("ledger_full", (), 0)
    assert sum(one.amount for one in found.claimed if one.dimension == "requests") == Decimal("3.75")
    (found,) = ledger.adopt(story.now)
    assert (found.claimed, accepted(ledger)) == ((), Decimal("3.75"))
    assert balanced(ledger)


def test_a_running_workload_is_not_adopted(story: Story, dead: Story) -> None:
    living = dead.open()
    dead.push(living, event())
    (adopted,) = story.open().adopt(story.now)
    assert (adopted.skipped, adopted.amounts) == ("ledger_locked", ())


@pytest.mark.parametrize("change", [{"product_code": "other"}, {"region": "eu-west-1"}])
def test_another_product_or_region_is_not_adopted(story: Story, dead: Story, change: dict[str, str]) -> None:
    dead.owner = replace(dead.owner, **change)
    dead.push(dead.open(), event())
    dead.close()
    (adopted,) = story.open().adopt(story.now)
    assert adopted.skipped == "ledger_of_another"


@pytest.mark.parametrize("product_id", ["prod-1", "prod-2"])
def test_a_contract_adopts_what_it_left_before_it_had_a_product_code(
    story: Story, dead: Story, product_id: str
) -> None:
    dead.owner = replace(dead.owner, product_code="prod-1", product_id="prod-1")
    dead.push(dead.open(), event())
    dead.close()
    story.owner = replace(story.owner, product_id=product_id)
    (adopted,) = story.open().adopt(story.now)
    assert adopted.skipped == ("" if product_id == "prod-1" else "ledger_of_another")
    assert len(adopted.amounts) == int(product_id == "prod-1")


def test_a_file_that_is_no_ledger_is_not_adopted(story: Story) -> None:
    ledger: Ledger = story.open()
    rubbish = story.directory / "ledger-rubbish.sqlite3"
    for content in (b"", b"rubbish" * 1000):
        rubbish.write_bytes(content)
        (adopted,) = ledger.adopt(story.now)
        assert adopted.skipped in ("ledger_of_another", "ledger_corrupt")
        assert rubbish.read_bytes() == content


# -- ids


def test_an_id_of_the_dead_workload_is_a_duplicate_after_adoption(story: Story, dead: Story) -> None:
    dead.push(dead.open(), event(id="a", quantity="2"))
    dead.close()
    adopter = story.open()
    adopter.adopt(story.now)
    assert story.push(adopter, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)
    refused = story.push(adopter, event(id="a", quantity="3"))
    assert isinstance(refused, PushRefused)
    assert refused.reason == "id_conflict"
    assert story.push(adopter, event(id="b", quantity="2")) == PushAccepted(accepted=1, duplicates=0)


def test_ids_are_copied_though_nothing_is_left_to_bill(story: Story, dead: Story) -> None:
    """What the dead workload settled must not be billed again by the next."""
    ledger = dead.open()
    dead.push(ledger, event(id="a", quantity="2"))
    (sealed,) = dead.seal(ledger)
    ledger.save(replace(sealed, state=State.SETTLED, record_id="x"), dead.now, outcome="settled")
    dead.close()
    adopter = story.open()
    assert adopter.adopt(story.now)[0].amounts == ()
    assert story.push(adopter, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)


def test_a_ledger_in_which_nothing_is_left_is_not_written_to(story: Story, dead: Story) -> None:
    left_behind(dead)
    ledger, path = story.open(), ledger_path(dead.directory, "pod-0")
    before = path.read_bytes()
    ledger.adopt(story.now)
    after = path.read_bytes()
    assert after != before, "what may be billed was taken"
    ledger.close()
    story.open().adopt(story.now)
    assert path.read_bytes() == after


def test_ids_of_a_workload_that_ran_again_are_copied_too(story: Story, dead: Story) -> None:
    dead.push(dead.open(), event(id="a", quantity="2"))
    dead.close()
    adopter = story.open()
    adopter.adopt(story.now)
    dead.push(dead.open(), event(id="b", quantity="5"))
    dead.close()
    (adopted,) = adopter.adopt(story.now)
    assert [one.amount for one in adopted.amounts] == [Decimal(5)]
    assert story.push(adopter, event(id="b", quantity="5")) == PushAccepted(accepted=0, duplicates=1)


def test_ids_of_two_generations_ago_are_not_copied(story: Story, dead: Story) -> None:
    dead.push(dead.open(), event(id="a", quantity="2"))
    dead.close()
    story.now += timedelta(hours=49)
    adopter = story.open()
    adopter.adopt(story.now)
    assert story.push(adopter, event(id="a", quantity="2")) == PushAccepted(accepted=1, duplicates=0)


def test_ids_whose_outcome_is_unknown_are_duplicates_after_adoption(story: Story, dead: Story) -> None:
    ledger = dead.open()
    dead.push(ledger, event(id="a", quantity="2"))
    ledger.mark_sending(dead.seal(ledger))
    dead.close()
    adopter = story.open()
    assert adopter.adopt(story.now)[0].left == 1
    assert story.push(adopter, event(id="a", quantity="2")) == PushAccepted(accepted=0, duplicates=1)


def test_ids_of_several_pages_are_all_copied_once(story: Story, dead: Story) -> None:
    many = [event(id=f"id-{number}") for number in range(seen_ids.COPY_IDS + 7)]
    ledger = dead.open()
    dead.push(ledger, *many)
    dead.close()
    adopter = story.open()
    for _ in range(2):
        adopter.adopt(story.now)
    assert story.push(adopter, *many) == PushAccepted(accepted=0, duplicates=len(many))
