"""The loop that tells the cluster: what it tells when, and what it says of refusals. No thread unless said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.app.wiring import pod_status_reporter
from sidecar.log import LOGGER
from sidecar.pod_status.access import ApiAccess, api_access
from sidecar.pod_status.changes import Snapshot
from sidecar.pod_status.messages import StatusUpdate, result_line
from sidecar.pod_status.reporter import (
    LOOP,
    PACE_SECONDS,
    REFUSED_SECONDS,
    REFUSED_SECONDS_MAX,
    UNREACHABLE_SECONDS,
    UNREACHABLE_SECONDS_MAX,
    PodStatusReporter,
)
from sidecar.pod_status.types import WriteOutcome, WriteResult
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.restart_state import RestartState
from tests.fakes.child import FakeChild, crashed
from tests.fakes.clock import FakeClock
from tests.fakes.log import Events, logged_events

API = ApiAccess(
    mount="/mount", host="10.0.0.1", port="443", pod="product-1", namespace="shop", uid="6f1c", service_account="seller"
)
PENDING = Snapshot(answered=True, reason="throttled", hint="Wait.")
OPEN = Snapshot(answered=True, status="entitled", reason="registered", hint="Confirmed.")
DENIED = Snapshot(answered=True, status="denied", reason="customer_not_entitled", hint="Subscribe.")
DONE = WriteResult(outcome=WriteOutcome.DONE)
SILENT = WriteResult(outcome=WriteOutcome.UNREACHABLE, reason="ConnectTimeoutError")
NO_PATCH = WriteResult(outcome=WriteOutcome.REFUSED, code=403, reason="Forbidden", verb="patch", resource="pods/status")
NO_EVENTS = WriteResult(outcome=WriteOutcome.REFUSED, code=403, reason="Forbidden", verb="create", resource="events")


@dataclass(kw_only=True)
class Story:
    """A reporter, the children it starts, and what they answer: `answers` in turn, then yes to everything."""

    clock: FakeClock = field(default_factory=FakeClock)
    restart_state: RestartState = field(default_factory=RestartState)
    now: Snapshot = field(default_factory=Snapshot)
    answers: list[list[WriteResult]] = field(default_factory=list)
    notices: list[StatusUpdate] = field(default_factory=list)
    children: list[FakeChild] = field(default_factory=list)
    while_read: list[Snapshot] = field(default_factory=list)
    broken: Exception | None = None
    told: threading.Condition = field(default_factory=threading.Condition)

    def reporter(self) -> PodStatusReporter:
        self.one = PodStatusReporter(
            api=API,
            snapshot=lambda: self.now,
            clock=self.clock,
            restart_state=self.restart_state,
            start_child=self.start,  # type: ignore[arg-type]
            chance=lambda: 1.0,
        )
        return self.one

    def start(self, update: StatusUpdate) -> FakeChild:
        if self.broken:
            raise self.broken
        self.notices.append(update)
        lines: list[bytes | None] = [
            result_line(one).encode() for one in (self.answers.pop(0) if self.answers else [DONE] * len(update))
        ]
        child = FakeChild(lines=lines, while_read=self.meanwhile)
        self.children.append(child)
        with self.told:
            self.told.notify_all()
        return child

    def meanwhile(self) -> None:
        if self.while_read:
            self.see(self.while_read.pop(0))

    def see(self, now: Snapshot) -> None:
        self.now = now
        self.one.changed()

    def tell(self, now: Snapshot) -> StatusUpdate:
        """This is seen, and told."""
        self.see(now)
        self.one.publish()
        return self.notices[-1]

    def wait(self, times: int) -> bool:
        with self.told:
            return self.told.wait_for(lambda: len(self.notices) >= times, 10)


@pytest.fixture
def story() -> Story:
    found = Story()
    found.reporter()
    return found


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    with logged_events() as found:
        yield found


def names(update: StatusUpdate) -> list[str]:
    return [one.reason for one in update.events]


# -- what is told


def test_before_the_first_answer_no_child_is_started(story: Story) -> None:
    story.see(Snapshot(reason="asking"))
    assert story.one.pause_seconds() is None
    story.one.publish()
    assert story.notices == []


def test_the_gates_opening_is_told_at_once_and_then_it_sleeps(story: Story) -> None:
    story.see(OPEN)
    assert story.one.pause_seconds() == 0
    update = story.tell(OPEN)
    assert update.condition is not None
    assert (update.condition.status, update.condition.reason, names(update)) == (True, "Registered", ["Entitled"])
    assert story.one.pause_seconds() is None
    assert story.children[0].closed


def test_changes_that_come_while_a_child_runs_are_told_together(story: Story) -> None:
    story.while_read = [replace(OPEN, superseded_version=1), replace(OPEN, superseded_version=1, rejected=1)]
    story.tell(DENIED)
    assert story.one.pause_seconds() == 0, "the gate turned"
    story.one.publish()
    assert [names(one) for one in story.notices] == [
        ["NotEntitled"],
        ["Entitled", "PublicKeySuperseded", "UsageWaiting"],
    ]
    assert story.one.pause_seconds() is None


def test_what_is_no_turn_of_the_gate_keeps_a_pace(story: Story) -> None:
    story.tell(DENIED)
    story.see(replace(DENIED, reason="token_nonce"))
    assert story.one.pause_seconds() == PACE_SECONDS
    story.see(OPEN)
    assert story.one.pause_seconds() == 0


def test_a_new_hint_alone_wakes_nobody(story: Story) -> None:
    story.tell(DENIED)
    story.see(replace(DENIED, hint="Subscribe again."))
    assert story.one.pause_seconds() is None


def test_fewer_waiting_records_are_known_and_more_are_told_again(story: Story) -> None:
    story.tell(replace(OPEN, rejected=2))
    story.see(replace(OPEN, rejected=0))
    assert story.one.pause_seconds() is None
    story.one._catch_up()
    assert names(story.tell(replace(OPEN, rejected=1))) == ["UsageWaiting"]


def test_a_new_worker_tells_the_condition_again_and_no_event_twice(story: Story) -> None:
    story.tell(OPEN)
    again = story.reporter()
    story.see(OPEN)
    assert again.pause_seconds() == 0
    update = story.tell(OPEN)
    assert update.condition is not None
    assert names(update) == []


def test_a_new_worker_that_sees_nothing_new_forgets_nothing(story: Story) -> None:
    story.tell(OPEN)
    again = story.reporter()
    again.start()
    assert story.wait(2)
    again.stop()
    assert again._ended.wait(10)
    assert [names(one) for one in story.notices] == [["Entitled"], []]


# -- silence


def test_an_api_server_that_does_not_answer_is_asked_again_with_growing_pauses(story: Story, events: Events) -> None:
    story.answers = [[SILENT, SILENT]] * 9
    pauses = []
    for _ in range(9):
        story.tell(DENIED)
        pause = story.one.pause_seconds()
        assert pause is not None
        pauses.append(pause)
        story.clock.advance(pause)
    assert pauses[:3] == [UNREACHABLE_SECONDS, 2 * UNREACHABLE_SECONDS, 4 * UNREACHABLE_SECONDS]
    assert max(pauses) == UNREACHABLE_SECONDS_MAX
    assert len(events.of("kubernetes.held")) == 1
    assert story.one.status()["reachable"] is False
    story.tell(DENIED)
    assert story.one.pause_seconds() is None
    assert len(events.of("kubernetes.recovered")) == 1
    assert story.one.status() == {"condition": False, "reachable": True, "refused": []}


def test_a_gate_that_turns_does_not_wait_for_the_pause(story: Story) -> None:
    story.answers = [[SILENT, SILENT]] * 5
    for _ in range(5):
        story.tell(DENIED)
    assert story.one.pause_seconds() == 16 * UNREACHABLE_SECONDS
    story.see(OPEN)
    assert story.one.pause_seconds() == 0


def test_a_change_during_a_call_to_a_silent_server_does_not_wait(story: Story) -> None:
    story.answers, story.while_read = [[SILENT, SILENT]], [OPEN]
    story.tell(DENIED)
    assert story.one.pause_seconds() == 0


def test_what_was_told_is_not_told_again_with_the_rest(story: Story) -> None:
    story.answers = [[DONE, DONE, SILENT]]
    assert names(story.tell(replace(OPEN, superseded_version=1))) == ["Entitled", "PublicKeySuperseded"]
    story.one.publish()
    assert story.notices[-1].condition is None
    assert names(story.notices[-1]) == ["PublicKeySuperseded"]
    assert story.one.pause_seconds() is None


@pytest.mark.parametrize("fault", ["crash", "end", "spawn"])
def test_a_child_that_breaks_is_one_that_was_not_heard(story: Story, events: Events, fault: str) -> None:
    if fault == "spawn":
        story.broken = OSError(12, "no memory")
        story.see(OPEN)
        story.one.publish()
    else:
        story.start = lambda _: crashed() if fault == "crash" else FakeChild()  # type: ignore[method-assign, assignment, return-value]
        one = story.reporter()
        story.see(OPEN)
        one.publish()
    assert story.one.pause_seconds() == UNREACHABLE_SECONDS
    assert ("child.failed" in events.names()) == (fault != "end")
    assert events.one("kubernetes.held")["reason"] == "child_failed"


# -- refusals


def test_a_missing_right_is_said_once_with_what_to_grant_and_tried_again_slowly(story: Story, events: Events) -> None:
    story.answers = [[NO_PATCH, NO_EVENTS]] * 8
    pauses = []
    for _ in range(8):
        story.tell(OPEN)
        pause = story.one.pause_seconds()
        assert pause is not None
        pauses.append(pause)
    assert (pauses[0], max(pauses)) == (REFUSED_SECONDS, REFUSED_SECONDS_MAX)
    said = events.of("kubernetes.refused")
    assert [(one["verb"], one["resource"], one["code"]) for one in said] == [
        ("patch", "pods/status", 403),
        ("create", "events", 403),
    ]
    assert "rbac.create" in said[0]["hint"]
    assert "`patch` on `pods/status` in namespace shop to the service account seller" in said[0]["hint"]
    refused = story.one.status()["refused"]
    assert isinstance(refused, list)
    assert len(refused) == 2
    story.tell(OPEN)
    assert len(events.of("kubernetes.recovered")) == 1
    assert story.one.status()["refused"] == []


def test_without_the_right_to_events_the_condition_is_written(story: Story) -> None:
    story.answers = [[DONE, NO_EVENTS], [NO_EVENTS], [DONE, NO_EVENTS]]
    story.tell(DENIED)
    story.one.publish()
    assert story.notices[-1].condition is None, "it is there"
    update = story.tell(OPEN)
    assert update.condition is not None
    assert update.condition.status is True
    assert story.one.status()["condition"] is True


def test_a_right_that_came_is_no_longer_missed(story: Story, events: Events) -> None:
    story.answers = [[NO_PATCH, NO_EVENTS], [DONE, NO_EVENTS]]
    story.tell(OPEN)
    story.one.publish()
    refused = story.one.status()["refused"]
    assert isinstance(refused, list)
    assert [one["resource"] for one in refused] == ["events"]
    assert events.of("kubernetes.recovered") == []


@pytest.mark.parametrize(
    ("code", "words"), [(401, "/mount"), (404, "shop/product-1"), (422, "POD_UID"), (400, "`patch`")]
)
def test_every_refusal_has_a_next_step(story: Story, events: Events, code: int, words: str) -> None:
    story.answers = [[replace(NO_PATCH, code=code), DONE]]
    story.tell(OPEN)
    assert words in events.one("kubernetes.refused")["hint"]


# -- the thread


def test_the_thread_sleeps_wakes_and_ends(story: Story) -> None:
    story.one.start()
    story.see(DENIED)
    assert story.wait(1)
    story.see(OPEN)
    assert story.wait(2)
    story.one.stop()
    story.one.stop()
    assert story.one._ended.wait(10)
    assert story.one.stopped()
    assert story.one.stopped_loop is None


def test_at_the_end_what_is_not_told_yet_is_told(story: Story) -> None:
    story.see(DENIED)
    story.one.stop()
    story.one.start()
    assert story.one._ended.wait(10)
    assert [names(one) for one in story.notices] == [["NotEntitled"]]


def test_at_the_end_a_server_that_does_not_answer_is_not_asked_again(story: Story) -> None:
    story.answers = [[SILENT, SILENT]]
    story.tell(DENIED)
    story.one.stop()
    story.one.start()
    assert story.one._ended.wait(10)
    assert len(story.notices) == 1


def test_a_loop_that_breaks_is_named(story: Story, events: Events) -> None:
    story.broken = RuntimeError("ours")
    LOGGER.setLevel("CRITICAL")
    story.see(OPEN)
    story.one.start()
    assert story.one._ended.wait(10)
    assert story.one.stopped_loop == LOOP


# -- whether it is wanted

POD = {
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "POD_NAME": "product-1",
    "POD_NAMESPACE": "shop",
    "POD_UID": "6f1c",
}


def built(env: dict[str, str], mount: Path) -> object:
    return pod_status_reporter(None, None, FakeClock(), RestartState(), env, mount)  # type: ignore[arg-type]


def test_without_the_mount_there_is_no_reporter(tmp_path: Path, events: Events) -> None:
    assert built(POD, tmp_path / "nothing") is None
    assert events.names() == []


def test_with_the_mount_there_is_one(tmp_path: Path) -> None:
    assert isinstance(built(POD, tmp_path), PodStatusReporter)


@pytest.mark.parametrize("name", POD)
def test_a_mount_without_what_names_the_pod_is_said(tmp_path: Path, events: Events, name: str) -> None:
    assert built({key: value for key, value in POD.items() if key != name}, tmp_path) is None
    assert name in events.one("kubernetes.unconfigured")["missing"]


def test_the_namespace_may_come_from_the_mount(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("shop\n")
    found = api_access({key: value for key, value in POD.items() if key != "POD_NAMESPACE"}, tmp_path)
    assert found is not None
    assert (found.namespace, found.missing) == ("shop", ())
