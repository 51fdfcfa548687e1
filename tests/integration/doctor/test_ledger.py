"""Ledgers that real processes wrote: in use, closed, damaged, of others; and what waits in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.doctor.checks import ledger as check
from sidecar.doctor.finding import Finding, Status
from sidecar.ledger import volume, wal
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering import hours
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import Story, event, raw_connection, settle
from tests.integration.ledger.test_inspection import cut_off, write_later_version
from tests.integration.ledger.test_wal import flip, frame_at, frames_of

from .support import POD, PRODUCT, REGION, Container, is_mended, text

OWNER = Owner(workload=POD, product_code=PRODUCT, region=REGION)
NOW = datetime.now(UTC)


@pytest.fixture
def metered(container: Container) -> Container:
    return container.set(SIDECAR_DIMENSIONS="requests")


def used(container: Container, owner: Owner = OWNER, now: datetime = NOW) -> tuple[Story, Ledger]:
    """A ledger in the state directory with one event of 3."""
    story = Story(Path(container.env["SIDECAR_STATE_DIR"]), owner, now=now)
    ledger = story.open()
    story.push(ledger, event(quantity="3"))
    return story, ledger


def found(container: Container) -> Finding:
    seen = container.check("ledger")
    assert is_mended(seen)
    return seen


def test_without_dimensions_and_ledgers_there_is_nothing_to_check(container: Container) -> None:
    assert found(container).status is Status.SKIP


def test_a_ledger_that_is_not_begun_yet_passes(metered: Container) -> None:
    seen = found(metered)
    assert seen.status is Status.PASS
    assert "no ledger yet" in seen.seen
    assert list(Path(metered.env["SIDECAR_STATE_DIR"]).iterdir()) == []


def test_a_ledger_in_use_passes_with_its_holder_and_what_waits_and_is_left_as_it_is(metered: Container) -> None:
    story, ledger = used(metered)
    settle(ledger, story.seal(ledger)[0], story)
    story.push(ledger, event(quantity="2"))
    before = {path.name: path.read_bytes() for path in story.directory.iterdir()}
    seen = found(metered)
    assert seen.status is Status.PASS
    assert f"{story.path.name} (this workload)" in seen.seen
    assert "open in process " in seen.seen
    assert "1 settled" in seen.seen
    assert "requests: 5 accepted, 2 waiting" in seen.seen
    assert {path.name: path.read_bytes() for path in story.directory.iterdir()} == before
    story.close()
    assert "not open here" in found(metered).seen
    assert volume.is_free(story.path)


@pytest.fixture
def agents(metered: Container, monkeypatch: pytest.MonkeyPatch) -> Container:
    """A ledger of AgentCore Runtime, with a sealed record; what looks at it begins with hours, as any process."""
    with monkeypatch.context() as short:
        for name in ("_length", "_micros"):
            short.setattr(hours, name, getattr(hours, name))
        hours.use_short_periods()
        story, ledger = used(metered)
        story.seal(ledger)
        story.close()
    for name in ("_length", "_micros"):
        monkeypatch.setattr(hours, name, getattr(hours, name))
    return metered


def test_an_agents_ledger_passes_where_the_settings_name_the_platform(agents: Container) -> None:
    seen = found(agents.set(SIDECAR_PLATFORM="agentcore", SIDECAR_ENTITLEMENT_CHECK="meter_usage"))
    assert (seen.status, "1 sealed" in seen.seen) == (Status.PASS, True)


def test_an_agents_ledger_is_not_called_damaged_where_they_do_not(agents: Container) -> None:
    seen = found(agents)
    assert (seen.status, "SIDECAR_PLATFORM was changed" in seen.seen) == (Status.FAIL, True)


@pytest.mark.parametrize("state", [State.DISPUTED, State.REJECTED])
def test_a_record_that_waits_for_a_person_is_a_warning_with_the_command(metered: Container, state: State) -> None:
    story, ledger = used(metered)
    (record,) = story.seal(ledger)
    ledger.mark_sending([record])
    ledger.save(replace(record, state=state, last_error="x"), story.now, outcome="x")
    story.close()
    seen = found(metered)
    assert seen.status is Status.WARN
    assert f"1 {state.value}" in seen.seen
    assert "usage retry" in seen.fix


def test_usage_that_waits_for_hours_is_a_warning(metered: Container) -> None:
    story, ledger = used(metered, now=NOW - timedelta(hours=5))
    story.seal(ledger)
    story.close()
    seen = found(metered)
    assert seen.status is Status.WARN
    assert "oldest unsettled hour" in seen.seen
    assert "AWS's last answer" in seen.fix


def test_usage_that_waits_without_a_dimension_is_a_warning(container: Container) -> None:
    story, _ = used(container)
    story.close()
    seen = found(container)
    assert seen.status is Status.WARN
    assert "SIDECAR_DIMENSIONS" in seen.fix


def test_a_damaged_ledger_fails_and_stays_where_it_is(metered: Container) -> None:
    story, _ = used(metered)
    story.close()
    cut_off(story)
    before = story.path.read_bytes()
    seen = found(metered)
    assert seen.status is Status.FAIL
    assert str(story.path) in seen.fix
    assert story.path.read_bytes() == before


def test_the_ledger_of_a_newer_version_is_a_warning(metered: Container) -> None:
    story, _ = used(metered)
    story.close()
    write_later_version(story)
    seen = found(metered)
    assert seen.status is Status.WARN
    assert "newer version" in seen.fix
    story.push(story.open(), event())  # an older version begins one beside it
    story.close()
    assert found(metered).seen.count("(this workload)") == 2


@pytest.mark.parametrize("other", [{"product_code": "prod2"}, {"region": "eu-west-1"}], ids=["product", "region"])
def test_a_ledger_of_this_workload_for_another_product_or_region_fails(
    metered: Container, other: dict[str, Any]
) -> None:
    story, _ = used(metered, replace(OWNER, **other))
    story.close()
    seen = found(metered)
    assert seen.status is Status.FAIL
    assert next(iter(other.values())) in seen.fix


def test_a_ledger_that_was_begun_before_its_region_was_known_passes(metered: Container) -> None:
    story, _ = used(metered, replace(OWNER, region=""))
    story.close()
    assert found(metered).status is Status.PASS


def test_a_ledger_that_this_user_may_not_read_fails(metered: Container) -> None:
    story, _ = used(metered)
    story.close()
    moved = story.path.rename(story.directory / "moved")
    story.path.symlink_to(moved)
    own = metered.set(POD_UID=POD)
    assert found(own).status is Status.PASS, "a link is no ledger, and is not followed"
    story.path.unlink()
    story.path.mkdir()
    assert found(own).status is Status.FAIL


def test_a_last_commit_that_is_not_whole_is_a_warning_and_the_log_stays_as_it_is(metered: Container) -> None:
    """As after a power cut: one page of a long commit did not reach the disk."""
    story, ledger = used(metered)
    first = frames_of(story) + 1
    story.push(ledger, *(event("gigabytes", id=f"long-{number}") for number in range(900)))
    left = metered.directory / "left"
    shutil.copytree(story.directory, left)
    story.close()
    killed = Story(left, OWNER)
    flip(killed, frame_at(first) + 200)
    log = wal.path_of(killed.path).read_bytes()
    seen = found(metered.set(SIDECAR_STATE_DIR=str(left)))
    assert seen.status is Status.WARN
    assert "its last commit is not whole" in seen.seen
    assert "requests: 3 accepted" in seen.seen
    assert wal.path_of(killed.path).read_bytes() == log


def lose_usage(story: Story) -> None:
    with closing(raw_connection(story.path)) as connection:
        connection.execute("DELETE FROM bucket")
        connection.commit()


def test_a_ledger_that_does_not_add_up_fails(metered: Container) -> None:
    story, _ = used(metered)
    story.close()
    lose_usage(story)
    seen = found(metered)
    assert seen.status is Status.FAIL
    assert "usage export" in seen.fix


# -- others on the volume


def other(container: Container, change: Callable[[Story], None] = lambda story: None, **owner: str) -> None:
    story, _ = used(container, replace(OWNER, workload="pod-of-yesterday", **owner))
    story.close()
    change(story)


def test_another_workloads_usage_passes_since_it_is_taken_over(metered: Container) -> None:
    other(metered)
    seen = found(metered)
    assert seen.status is Status.PASS
    assert "(another workload)" in seen.seen
    assert "requests: 3 accepted, 3 waiting" in seen.seen


@pytest.mark.parametrize("change", [cut_off, lose_usage])
def test_another_workloads_damaged_ledger_is_a_warning_beside_our_own(
    metered: Container, change: Callable[[Story], None]
) -> None:
    other(metered, change)
    used(metered)[0].close()
    seen = found(metered)
    assert seen.status is Status.WARN
    assert seen.seen.index("(this workload)") < seen.seen.index("(another workload)")


def test_another_products_ledger_is_none_of_ours(metered: Container) -> None:
    other(metered, product_code="prod2")
    assert found(metered).status is Status.PASS


def test_of_many_ledgers_the_first_are_opened_and_the_others_counted(
    metered: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "LEDGERS_MAX", 1)
    used(metered)[0].close()
    for number in range(3):
        used(metered, replace(OWNER, workload=f"pod-{number}"))[0].close()
    seen = found(metered)
    assert "2 more were not opened" in seen.seen
    assert "(this workload)" in seen.seen


def test_without_room_for_a_copy_it_is_a_warning(metered: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    used(metered)[0].close()
    monkeypatch.setattr("sidecar.ledger.live_copy.FREE_SHARE", 10**15)
    seen = found(metered)
    assert seen.status is Status.WARN
    assert "TMPDIR" in seen.fix


def test_without_a_temporary_directory_the_copy_is_beside_the_ledger_for_a_moment(
    metered: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose root file system is read-only."""
    monkeypatch.setattr("tempfile.tempdir", str(metered.directory / "none"))
    story, _ = used(metered)
    story.close()
    before = sorted(story.directory.iterdir())
    assert found(metered).status is Status.PASS
    assert sorted(story.directory.iterdir()) == before


def test_a_copy_is_not_made_in_memory_where_there_is_a_disk(
    metered: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, temporary = Path(metered.env["SIDECAR_STATE_DIR"]), metered.directory / "temporary"
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    table = metered.directory / "mountinfo"
    monkeypatch.setattr("sidecar.ledger.volume.MOUNTINFO", table)
    table.write_text("1 0 8:1 / / rw - ext4 /dev/vda rw\n")
    assert check._places(state) == [temporary, state]
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 0:9 / {temporary} rw - tmpfs none rw\n")
    assert check._places(state) == [state, temporary]


def test_no_id_and_no_amount_of_the_customer_is_needed_to_read_a_finding(metered: Container) -> None:
    used(metered)[0].close()
    assert POD not in text(found(metered)), "a file's name says which workload's it is"
