"""Usage is kept while no region is known, and sent once it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.billing import status
from sidecar.billing.loop import BillingLoop
from sidecar.metering.events import PushAccepted
from tests.fakes.log import Events
from tests.integration.billing.support import REGION, WORKLOAD, Story


def nowhere(directory: Path, **more: str) -> Story:
    """Return a workload whose region is not known."""
    story = Story.__new__(Story)
    real = BillingLoop.set_identity

    def without(loop: BillingLoop, workload: str, _: str) -> None:
        real(loop, workload, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BillingLoop, "set_identity", without)
        story.__init__(directory, **more)  # type: ignore[misc]
    return story


def hints(story: Story) -> str:
    return str(status.document(story.loop, story.settings, None)["hint"])


def test_usage_without_a_region_is_kept_and_sent_once_it_is_known(tmp_path: Path) -> None:
    story = nowhere(tmp_path)
    assert story.use("3") == PushAccepted(accepted=1, duplicates=0)
    story.at("11:00:40").at("11:10")
    assert (story.records(), story.aws.sent) == ({"10 requests": "sealed"}, [])
    assert "region" in hints(story)
    story.loop.set_identity(WORKLOAD, REGION)
    story.at("11:11").at("11:20")
    assert story.aws.bill() == {"10": "3"}
    assert story.loop.events.region == REGION
    assert "region" not in hints(story)
    story.balanced()


def test_a_workload_that_ends_without_a_region_leaves_its_usage_to_the_next(tmp_path: Path, events: Events) -> None:
    story = nowhere(tmp_path)
    story.use("3")
    story.end()
    assert story.aws.sent == []
    assert events.one("usage.left_behind")["left"]["quantity"] == "3"
    heir = Story(tmp_path, workload="pod-2")
    heir.at("10:30")
    assert events.one("usage.adopted")["quantities"] == {"requests": "3"}
    heir.at("11:00:40").at("11:10")
    assert heir.aws.bill() == {"10": "3"}


def test_a_restart_that_knows_the_region_sends_what_waits(tmp_path: Path) -> None:
    story = nowhere(tmp_path)
    story.use("3")
    story.crash()
    again = Story(tmp_path)
    again.at("11:00:40").at("11:10")
    assert again.aws.bill() == {"10": "3"}


def test_a_restart_without_the_region_keeps_the_ledgers_own(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.use("3")
    story.crash()
    again = nowhere(tmp_path)
    assert again.use("2") == PushAccepted(accepted=1, duplicates=0)
    again.at("11:00:40").at("11:10")
    assert again.aws.sent == []
    again.loop.set_identity(WORKLOAD, REGION)
    again.at("11:11").at("11:20")
    assert again.aws.bill() == {"10": "5"}


def test_another_region_than_the_ledgers_is_a_fault_and_nothing_is_sent(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.use("3")
    story.crash()
    again = nowhere(tmp_path)
    again.loop.set_identity(WORKLOAD, "eu-west-1")
    again.at("11:00:40").at("11:10")
    assert again.aws.sent == []
    assert again.loop.fault is not None
    assert again.loop.fault.reason == "ledger_of_another"
    assert "us-east-1" in again.loop.fault.detail
    assert again.use("1") == PushAccepted(accepted=1, duplicates=0), "what is pushed is kept"


def test_usage_of_others_is_taken_over_only_once_the_region_is_known(tmp_path: Path, events: Events) -> None:
    gone = Story(tmp_path, workload="pod-0")
    gone.use("4")
    gone.crash()
    story = nowhere(tmp_path)
    story.at("10:40")
    assert events.of("usage.adopted") == []
    story.loop.set_identity(WORKLOAD, REGION)
    story.at("10:41")
    assert events.one("usage.adopted")["quantities"] == {"requests": "4"}
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "4"}
