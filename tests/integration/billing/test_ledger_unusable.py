"""The gate of a metered product does not open before its usage can be stored, unless a setting says otherwise."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sidecar.billing.gate_policy import DENIED_HINT
from sidecar.billing.loop import STUCK
from sidecar.billing.monitor import STUCK_SECONDS
from sidecar.entitlement.hold import Hold
from sidecar.entitlement.status import Status
from sidecar.errors import Exit
from sidecar.ledger import volume
from sidecar.ledger.errors import REASONS, LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.ledger.volume import ownership
from sidecar.metering.outcomes import Refused
from tests.fakes.clock import NOON
from tests.fakes.faults import hold_logs, raising
from tests.fakes.log import Events
from tests.integration.billing.support import WORKLOAD, MakeStory, Story


class Unstarted(Story):
    """A workload whose gate has not opened, before its first pass."""

    def begin(self) -> None:
        self.gate.has_opened = False
        super().begin()


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A state directory that cannot be made."""
    (tmp_path / "file").touch()
    return tmp_path / "file"


def test_a_gate_waits_until_the_ledger_was_opened_once(blocked: Path, events: Events) -> None:
    story = Unstarted(blocked)
    story.loop._policy.wait_for_ledger()
    assert story.gate.holds == [Hold.LEDGER_UNUSABLE]
    assert story.gate.shown is None, "pending, until it is known why"
    story.loop.run_once()
    assert story.gate.shown is not None
    status, reason, hint = story.gate.shown
    assert (status, reason) == (Status.MISCONFIGURED, "ledger_missing_directory")
    assert str(blocked) in hint
    assert f"user {os.geteuid()}" in hint
    story.loop.run_once()
    assert len(story.gate.holds) == 2, "told once"
    blocked.unlink()
    story.gate.has_opened = True  # AWS has answered meanwhile
    story.loop.run_once()
    assert story.gate.hold is None
    assert story.loop.ledger is not None
    story.loop._fail(LedgerError("ledger_full"), story.clock.now())
    assert story.gate.hold is None, "once open, the ledger's trouble does not shut it"
    story.crash()


def test_a_ledger_that_was_opened_once_keeps_no_gate_shut(
    make_story: MakeStory, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container restarts on a disk that is full now: its product runs."""
    story = make_story()
    story.gate.has_opened = False
    story.crash()

    monkeypatch.setattr(Ledger, "open", raising(LedgerError, "ledger_full"))
    story.loop._opened, story.loop._opening_tried = None, False
    story.loop._policy.wait_for_ledger()
    story.loop.run_once()
    assert story.gate.holds == [Hold.LEDGER_UNUSABLE, None]


@pytest.mark.parametrize("case", ["alert", "opened"])
def test_a_gate_does_not_wait_where_that_is_set_or_it_had_opened(blocked: Path, case: str, events: Events) -> None:
    story = Unstarted(blocked, **({"on_ledger_unusable": "alert"} if case == "alert" else {}))
    story.gate.has_opened = case == "opened"
    story.loop._policy.wait_for_ledger()
    story.loop.run_once()
    assert story.gate.holds == []


def test_a_denial_that_the_ledger_knows_of_follows_the_wait(make_story: MakeStory, events: Events) -> None:
    story = make_story(entitlement_check="meter_usage")
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    assert story.gate.hold is Hold.FIRST_METER_DENIED
    story.gate.has_opened, story.gate.hold, story.gate.holds = False, None, []
    story.crash()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "open", raising(LedgerError, "ledger_io_error"))
        story.begin()
        story.loop._policy.wait_for_ledger()
        story.loop.run_once()
    assert story.gate.holds[0] is Hold.LEDGER_UNUSABLE
    story.loop.run_once()
    assert story.gate.hold is Hold.FIRST_METER_DENIED
    assert None not in story.gate.holds, "it was never open between"
    assert events.of("metering.denied")[-1]["hint"] == DENIED_HINT


def test_a_disk_that_hangs_while_the_ledger_is_opened_is_shown_at_the_gate(tmp_path: Path, events: Events) -> None:
    story = Unstarted(tmp_path)
    story.crash()
    story.loop._policy.wait_for_ledger()
    story.loop.monitor.wait(for_disk=True)
    story.clock.advance(STUCK_SECONDS + 1)
    assert story.loop.overdue_since is None
    assert story.gate.shown == (Status.MISCONFIGURED, *STUCK)


def test_a_loop_that_breaks_while_the_gate_waits_ends_the_process(blocked: Path, events: Events) -> None:
    story = Unstarted(blocked)
    ended: list[Exit] = []
    story.loop._end = lambda code, _text: ended.append(code)
    story.loop._policy.wait_for_ledger()
    story.gate.has_opened = True  # AWS has answered; nobody sees a liveness probe before the gate opens
    story.loop._break(MemoryError())
    assert ended == [Exit.SOFTWARE]


def test_the_fault_of_a_foreign_volume_names_both_owners_and_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "prepare", raising(LedgerError, "ledger_read_only", f"{tmp_path}: Permission denied."))
    with pytest.raises(LedgerError) as caught:
        Ledger.open(tmp_path, Owner(workload="pod-1", product_code="product", region="us-east-1"), (), NOON)
    hint = caught.value.hint
    assert f"{tmp_path}: Permission denied. {ownership(tmp_path)} {REASONS['ledger_read_only']}" == hint
    stat = tmp_path.stat()
    assert f"{tmp_path} belongs to user {stat.st_uid} and group {stat.st_gid} (mode 700)" in hint
    assert f"runs as user {os.geteuid()}" in hint
    assert "fsGroup" in hint


def test_of_a_directory_that_is_missing_the_nearest_above_it_is_named(tmp_path: Path) -> None:
    assert ownership(tmp_path / "a" / "b").startswith(f"{tmp_path} belongs to user ")


def test_a_damaged_ledger_is_named_though_no_new_one_could_be_begun(
    tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next pass finds no damaged file, and could not say so."""
    path = volume.ledger_path(tmp_path, WORKLOAD)
    path.write_bytes(b"garbage" * 200)
    volume.wal.path_of(path).write_bytes(b"log")
    stamp = path.with_name(f"{path.name}.corrupt-20260102T102000Z")
    with monkeypatch.context() as patch:
        hold_logs(patch, errno.EACCES)
        story = Unstarted(tmp_path)
    assert events.one("ledger.set_aside")["path"] == str(stamp)
    assert story.loop.ledger is None
    story.at("10:21")
    assert story.loop.ledger is not None
    assert len(events.of("ledger.set_aside")) == 1
    story.crash()
