"""Usage of workloads that are gone is taken over or logged."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sidecar.billing import status
from sidecar.billing.loop import BillingLoop
from sidecar.billing.maintenance import TRIES
from sidecar.billing.open_ledger import OpenLedger
from sidecar.billing.pause import PASS_SECONDS
from sidecar.errors import DecisionRefused
from sidecar.ledger import adoption, handover, live_copy, volume, wal
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted
from sidecar.metering.outcomes import Refused, Unknown
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, State
from sidecar.quick_dataclasses import replace
from tests.fakes.faults import killed_in, raising
from tests.fakes.log import Events
from tests.integration.billing.support import (
    REGION,
    WORKLOAD,
    MakeStory,
    Story,
    hour,
)


def test_usage_of_a_workload_that_is_gone_is_billed_by_the_next(make_story: MakeStory, events: Events) -> None:
    first = make_story()
    first.use("3")
    first.crash()
    story = make_story()
    story.loop.set_identity(WORKLOAD, REGION)
    assert story.loop.ledger is not None
    story.loop.ledger.close()
    story.loop = BillingLoop(
        settings=story.settings,
        clock=story.clock,
        gate=story.gate,
        start_child=story.aws,  # type: ignore[arg-type]
    )
    story.loop.set_identity("pod-2", "us-east-1")
    story.loop.run_once()
    assert events.one("usage.adopted")["quantities"] == {"requests": "3"}
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}


def test_an_unreadable_ledger_of_another_workload_is_logged(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    (story.directory / "ledger-other.sqlite3").write_bytes(b"rubbish" * 1000)
    story.at("10:40")
    logged = events.one("usage.adoption_failed")
    assert (logged["reason"], logged["path"]) == ("ledger_corrupt", str(story.directory / "ledger-other.sqlite3"))
    assert "left as it is" in logged["hint"]
    assert "set aside" not in logged["hint"]
    assert (story.directory / "ledger-other.sqlite3").exists()
    assert story.loop.ledger, "its own usage is metered"


def test_usage_of_a_dimension_no_longer_configured_is_logged_once(make_story: MakeStory, events: Events) -> None:
    """It is billed once the dimension is back."""
    story = make_story(dimensions="requests,b")
    story.use("2", dimension="b")
    story.restart(dimensions="requests")
    story.at("10:30").at("11:10").at("18:30")
    logged = events.one("usage.unconfigured")
    assert logged["quantities"] == {"b": "2"}
    assert logged["path"] == str(story.loop.ledger.path)  # type: ignore[union-attr]
    assert "SIDECAR_DIMENSIONS" in logged["hint"]
    assert logged["levelname"] == "ERROR"
    story.restart(dimensions="requests,b")
    assert story.loop.snapshot.unconfigured == {}
    story.at("19:00:40").at("19:10")
    assert story.aws.bill("b") == {"18": "2"}
    assert len(events.of("usage.unconfigured")) == 1


def test_a_removed_dimension_that_owes_too_little_is_not_logged(make_story: MakeStory, events: Events) -> None:
    story = make_story(dimensions="requests,b")
    story.use("2.5", dimension="b")
    story.at("11:00:40").at("11:10")
    story.restart(dimensions="requests").at("11:20").at("12:30")
    assert story.aws.bill("b") == {"10": "2"}
    assert events.of("usage.unconfigured") == []


def test_orphaned_usage_of_an_unconfigured_dimension_is_logged(make_story: MakeStory, events: Events) -> None:
    gone = make_story(dimensions="requests,b")
    gone.use("3")
    gone.use("2", dimension="b")
    gone.crash()
    story = make_story(workload="pod-2")
    story.at("10:50").at("11:30")
    logged = events.one("usage.adopted")
    assert (logged["quantities"], logged["left"], logged["left_unconfigured"]) == ({"requests": "3"}, 1, {"b": "2"})
    assert events.one("usage.unconfigured")["quantities"] == {"b": "2"}
    assert events.one("usage.unconfigured")["path"] == logged["path"]
    assert story.loop.orphans.unconfigured == {"b": Decimal(2)}
    story.restart(dimensions="requests,b")
    assert story.loop.orphans.unconfigured == {}
    story.at("12:00:40").at("12:10")
    assert story.aws.bill("b") == {"11": "2"}


def test_orphaned_records_that_wait_for_a_person_are_logged_once(make_story: MakeStory, events: Events) -> None:
    gone = make_story()
    gone.use("5")
    gone.aws.always = Refused(code="InvalidUsageDimensionException")
    gone.at("11:00:40").at("11:10")
    gone.use("2")
    gone.aws.always = Unknown(code="ReadTimeoutError")
    gone.at("12:00:40").at("12:10").crash()
    story = make_story(workload="pod-2")
    story.at("12:20").at("12:40")
    waits = events.one("usage.unanswered")
    assert (waits["gone_workload"], waits["quantity"], waits["levelname"]) == ("pod-1", "2", "WARNING")
    assert [one["quantity"] for one in events.of("usage.orphaned")] == ["5"]
    assert story.loop.orphans.unanswered == 1
    story.at("17:00").at("17:20")
    logged = [
        {name: event[name] for name in ("gone_workload", "hour", "dimension", "quantity", "state", "reason")}
        for event in events.of("usage.orphaned")
    ]
    ten = {"hour": "2026-01-02T10:00:00.000Z", "quantity": "5", "reason": "InvalidUsageDimensionException"}
    eleven = {"hour": "2026-01-02T11:00:00.000Z", "quantity": "2", "reason": "outcome_unknown"}
    common = {"gone_workload": "pod-1", "dimension": "requests", "state": "rejected"}
    assert logged == [common | ten, common | eleven]
    first = events.of("usage.orphaned")[0]
    assert Path(first["path"]).exists()
    assert "CloudTrail" in first["hint"]
    assert first["levelname"] == "ERROR"
    assert [one["quantity"] for one in story.loop.orphans.orphaned] == ["5", "2"]
    assert story.loop.orphans.unanswered == 0
    assert len(events.of("usage.adopted")) == 1


def test_usage_that_is_taken_over_is_no_error(make_story: MakeStory, events: Events) -> None:
    gone = make_story()
    gone.use("5")
    gone.at("11:00:40").at("11:10")
    gone.use("2")
    gone.crash()
    story = make_story(workload="pod-2")
    story.at("11:40")
    assert events.of("usage.orphaned") == events.of("usage.unconfigured") == []
    assert (story.loop.orphans.orphaned, story.loop.orphans.unconfigured) == ((), {})


def test_records_of_a_running_workload_are_not_orphans(make_story: MakeStory, events: Events) -> None:
    living = make_story()
    living.use("5")
    living.aws.always = Refused(code="InvalidUsageDimensionException")
    living.at("11:00:40").at("11:10")
    story = make_story(workload="pod-2")
    story.at("11:40")
    assert events.of("usage.orphaned") == []
    assert story.loop.orphans.orphaned == ()


def test_usage_that_was_claimed_and_not_taken_is_named(
    make_story: MakeStory, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make_story()
    gone.use("5")
    gone.crash()

    with monkeypatch.context() as patch:
        patch.setattr(handover, "take", raising(LedgerError, "ledger_full"))
        story = make_story(workload="pod-2")
        story.at("10:40")
    logged = events.one("usage.claimed")
    assert (logged["quantities"], logged["levelname"]) == ({"requests": "5"}, "ERROR")
    assert Path(logged["path"]).exists()
    assert {event["reason"] for event in events.of("usage.adoption_failed")} == {"ledger_full"}
    shown = status.document(story.loop, story.settings, None)
    assert shown["claimed"] == {"requests": "5"}
    assert "usage.claimed" in str(shown["hint"])
    (metric,) = (
        one for one in status.metrics(story.loop, {}, None, story.clock.now()) if one.name == "usage_quantity_claimed"
    )
    assert metric.samples == [({"dimension": "requests"}, 5.0)]
    story.at("10:51")
    assert story.loop.orphans.claimed == {}
    assert events.of("usage.adopted")[-1]["quantities"] == {"requests": "5"}


def test_an_id_that_the_predecessor_kept_counts_once_while_it_runs(make_story: MakeStory, events: Events) -> None:
    """A rolling update on a kept volume: the next pod starts before the one before it has ended."""
    before = make_story()
    before.use("3", id="a")
    story = make_story(workload="pod-2")
    story.use("3", id="a")
    before.use("2", id="b")
    before.crash()
    story.clock.advance(1)
    story.loop.run_once()
    assert events.one("usage.adopted")["quantities"] == {"requests": "5"}, "in the next pass, not in ten minutes"
    story.use("2", id="b")
    story.use("4", id="c")
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "9"}
    assert events.of("usage.ids_unread") == []


@pytest.mark.parametrize("step", ["open_known", "_copy_ids"])
def test_no_usage_is_taken_while_there_is_no_room_for_the_ids_of_the_dead(
    make_story: MakeStory, events: Events, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = make_story()
    before.use("3", id="a")
    before.crash()

    with monkeypatch.context() as patch:
        patch.setattr(adoption, step, raising(LedgerError, "ledger_full"))
        story = make_story(workload="pod-2")
        assert story.loop.ledger is None, "a push is refused with 503"
        assert story.loop.fault is not None
        assert story.loop.fault.reason == "ledger_full"
    story.at("10:21")
    assert story.use("3", id="a") == PushAccepted(accepted=0, duplicates=1)
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}


@pytest.mark.parametrize("reason", ["ledger_io_error", "ledger_read_only"])
def test_no_usage_is_taken_until_a_disk_that_failed_for_a_moment_gives_the_ids_of_the_dead(
    make_story: MakeStory, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    before = make_story()
    before.use("3", id="a")
    before.crash()
    failing = iter([True] * (TRIES - 1))
    real = adoption.open_known

    def fails(*given: Any) -> sqlite3.Connection:
        if next(failing, False):
            raise LedgerError(reason)
        return real(*given)

    monkeypatch.setattr(adoption, "open_known", fails)
    story = make_story(workload="pod-2")
    for _ in range(TRIES - 2):
        assert story.loop.ledger is None, "a push is refused with 503"
        story.loop.run_once()
    assert story.loop.fault is not None
    assert story.loop.fault.reason == reason
    story.loop.run_once()
    assert story.use("3", id="a") == PushAccepted(accepted=0, duplicates=1)
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}


@pytest.mark.parametrize(
    ("reason", "passes"), [("ledger_corrupt", 1), ("ledger_io_error", TRIES), ("ledger_read_only", TRIES)]
)
def test_another_fault_of_a_dead_workloads_ledger_stops_ours_for_a_minute_at_most(
    make_story: MakeStory, events: Events, monkeypatch: pytest.MonkeyPatch, reason: str, passes: int
) -> None:
    before = make_story()
    before.use("3", id="a")
    before.crash()

    with monkeypatch.context() as patch:
        patch.setattr(adoption, "open_known", raising(LedgerError, reason))
        story = make_story(workload="pod-2")
        for _ in range(passes - 1):
            assert story.loop.ledger is None
            story.loop.run_once()
        assert story.use("4", id="b") == PushAccepted(accepted=1, duplicates=0)
    assert events.of("usage.adoption_failed")[0]["reason"] == reason


def test_ids_that_are_copied_are_not_missing_where_the_disk_takes_no_note_of_it(
    make_story: MakeStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_story()
    before.use("3", id="a")
    before.crash()

    monkeypatch.setattr(adoption, "_note_given", raising(OSError, errno.ENOSPC, "No space left on device"))
    story = make_story(workload="pod-2")
    assert story.use("3", id="a") == PushAccepted(accepted=0, duplicates=1)


def test_the_lock_of_a_dead_workloads_ledger_is_free_whatever_ends_the_look_at_it(
    make_story: MakeStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_story()
    before.use("3", id="a")
    before.crash()

    with killed_in(monkeypatch, adoption, "open_known"):
        make_story(workload="pod-2")
    assert volume.is_free(volume.ledger_path(before.directory, WORKLOAD))


def test_the_loop_wakes_as_soon_as_a_predecessor_has_ended(make_story: MakeStory) -> None:
    before = make_story()
    story = make_story(workload="pod-2")
    waiting = threading.Thread(target=story.loop._wait_for_pass, daemon=True)
    waiting.start()
    before.crash()
    waiting.join(PASS_SECONDS / 2)
    assert not waiting.is_alive()


def test_what_one_dead_workload_left_stays_shown_when_another_ends(make_story: MakeStory, events: Events) -> None:
    gone = make_story(workload="pod-0")
    gone.use("5")
    gone.aws.always = Refused(code="InvalidUsageDimensionException")
    gone.at("11:00:40").at("11:10").crash()
    before = make_story()
    before.use("1")
    story = make_story(workload="pod-2")
    before.crash()
    story.at("10:20:30")
    assert [one["quantity"] for one in story.loop.orphans.orphaned] == ["5"]
    assert len(events.of("usage.orphaned")) == 2, "once by each sidecar"


def test_ids_of_a_predecessor_that_cannot_be_read_are_logged_once(
    make_story: MakeStory, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_story().use("1", id="a")
    monkeypatch.setattr(live_copy, "FREE_SHARE", 10**15)
    story = make_story(workload="pod-2")
    story.at("10:40").at("10:55")
    logged = events.one("usage.ids_unread")
    assert logged["reason"] == "ledger_full"
    assert Path(logged["path"]).exists()
    assert "StatefulSet" in logged["hint"]


def without_whole_end(story: Story, target: Path) -> None:
    """Copy the ledger as a process that is killed leaves it, with a changed bit in its last commit."""
    shutil.copytree(story.directory, target, dirs_exist_ok=True)
    log = next(target.glob("ledger-*.sqlite3-wal"))
    content = bytearray(log.read_bytes())
    content[wal.HEADER.size + (last_commit(content) + 1) * wal.FRAME_BYTES - 1] ^= 1
    log.write_bytes(content)


def last_commit(content: bytes) -> int:
    """The number of the first frame of the last commit of a log, counted from 0."""
    starts = range(wal.HEADER.size, len(content), wal.FRAME_BYTES)
    ends = [number for number, at in enumerate(starts) if wal.FRAME.unpack_from(content, at)[1]]
    assert ends[-1] - ends[-2] > 1, "more than one frame"
    return ends[-2] + 1


@pytest.mark.parametrize("workload", [WORKLOAD, "pod-2"])
def test_a_last_commit_in_doubt_is_an_error_and_the_rest_is_billed(
    make_story: MakeStory, events: Events, tmp_path: Path, workload: str
) -> None:
    """In the workload's own ledger, and in one that it takes over."""
    killed = make_story()
    killed.use("3", id="a")
    killed.use("2", id="b")
    without_whole_end(killed, tmp_path / "killed")
    story = Story(tmp_path / "killed", workload)
    story.at("10:40")
    logged = events.one("ledger.commit_in_doubt")
    assert Path(logged["path"]).parent == tmp_path / "killed"
    assert "power cut" in logged["hint"]
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}
    story.crash()


def test_the_first_push_does_not_wait_for_old_ledgers(
    make_story: MakeStory, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make_story()
    gone.use("3")
    gone.crash()
    assert gone.loop.ledger is not None
    os.utime(gone.loop.ledger.path, (1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(OpenLedger, "run_pass", lambda *_: None)
        story = make_story(workload="pod-2")
    assert story.use("1") == PushAccepted(accepted=1, duplicates=0)
    assert events.of("usage.adopted") == []
    story.at("10:21")
    assert events.one("usage.adopted")["quantities"] == {"requests": "3"}


def test_the_removal_of_a_settled_ledger_is_logged(make_story: MakeStory, events: Events) -> None:
    gone = make_story()
    gone.use("3")
    gone.at("11:00:40").at("11:10").crash()
    story = make_story(workload="pod-2")
    story.clock.advance(40 * 24 * 3600)
    story.loop.run_once()
    logged = events.one("ledger.removed")
    assert gone.loop.ledger is not None
    assert (logged["gone_workload"], logged["path"]) == ("pod-1", str(gone.loop.ledger.path))
    assert not gone.loop.ledger.path.exists()


def test_a_lost_answer_is_found_out_by_its_own_workload_beside_another(make_story: MakeStory, events: Events) -> None:
    """Its container restarts, and another sidecar on the volume takes over in between."""
    story = make_story()
    story.use("2")
    story.aws.answers = [story.aws.lose_the_answer]
    story.at("11:00:40").at("11:10").crash()
    other = make_story(workload="pod-2")
    other.at("11:11")
    story.begin()
    story.at("11:40")
    assert story.records() == {"10 requests": "settled"}
    other.at("11:50").at("12:00:40").at("12:10")
    assert (story.aws.bill(), other.aws.bill()) == ({"10": "2"}, {})
    assert events.of("usage.orphaned") == []


def test_orphaned_records_are_shown_and_a_decision_takes_them_away(make_story: MakeStory, events: Events) -> None:
    gone = make_story()
    gone.use("5")
    gone.aws.always = Refused(code="InvalidUsageDimensionException")
    gone.at("11:00:40").at("11:10").crash()
    story = make_story(workload="pod-2")
    story.at("12:20")
    ((whose, record),) = story.usage.orphans()
    assert (whose, record.quantity, story.usage.workload) == ("pod-1", 5, "pod-2")
    (changed,) = story.usage.resolve(Resolution(action=Action.ROLL_FORWARD, workload="pod-1"))
    assert changed.state is State.ROLLED_FORWARD
    assert (story.usage.orphans(), story.loop.orphans.orphaned) == ((), ())
    logged = events.one("record.resolved")
    assert (logged["workload"], logged["act"], logged["quantity"]) == ("pod-1", "roll_forward", "5")
    story.at("13:00:40").at("13:10")
    assert story.aws.bill() == {"12": "5"}
    assert story.usage.orphans() == ()
    story.balanced()


def test_a_decision_about_our_own_workload_by_name_is_our_own(make_story: MakeStory) -> None:
    story = make_story()
    story.use("5")
    story.aws.answers = [Refused(code="InvalidUsageDimensionException")]
    story.at("11:00:40").at("11:10")
    (record,) = story.usage.resolve(Resolution(workload="pod-1"))
    assert record.state is State.SEALED
    assert story.at("11:11").records()["10 requests"] == "settled"


@pytest.mark.parametrize("workload", [None, "pod-1"], ids=["ours", "a workload that is gone"])
@pytest.mark.parametrize("which", ["another hour", "another dimension"])
def test_a_decision_about_one_record_that_does_not_wait_is_refused(
    workload: str | None, which: str, make_story: MakeStory, events: Events
) -> None:
    story = make_story()
    story.use("5")
    story.aws.always = Refused(code="InvalidUsageDimensionException")
    story.at("11:00:40").at("11:10")
    if workload:
        story.crash()
        story = make_story(workload="pod-2")
        story.at("12:20")
    right = Resolution(
        action=Action.CONFIRM, hour=hour("10:00"), dimension="requests", record_id="receipt", workload=workload
    )
    wrong = replace(right, hour=hour("09:00")) if which == "another hour" else replace(right, dimension="request")
    with pytest.raises(DecisionRefused) as refused:
        story.usage.resolve(wrong)
    assert (refused.value.status, refused.value.reason) == (404, "record_not_found")
    assert "usage" in refused.value.hint
    assert events.of("record.resolved") == []
    (settled,) = story.usage.resolve(right)
    assert settled.state is State.SETTLED


def test_a_decision_about_all_that_wait_may_find_none(make_story: MakeStory) -> None:
    story = make_story()
    story.use("5")
    assert story.usage.resolve(Resolution(action=Action.ROLL_FORWARD)) == ()
    assert story.usage.resolve(Resolution(hour=hour("09:00"))) == ()
