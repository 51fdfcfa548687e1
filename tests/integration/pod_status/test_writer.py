"""Condition and events, told to an API server over HTTPS: in this process, by a real child, and by a real reporter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.child import process
from sidecar.clock import SystemClock
from sidecar.pod_status.changes import Snapshot
from sidecar.pod_status.messages import StatusUpdate, read_results
from sidecar.pod_status.reporter import PodStatusReporter
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult
from sidecar.pod_status.writer import BYTES_MAX, CONDITION, NAME_MAX, NOTE_MAX, event_name, event_object, write_all
from sidecar.quick_dataclasses import replace
from sidecar.restart_state import RestartState
from tests.fakes.log import Events, logged_events
from tests.fakes.tls import certificate
from tests.integration.pod_status.cluster_api import TOKEN, ClusterApi, wait_for
from tests.ports import free_port

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
OPEN = Condition(status=True, reason="Registered", message="Confirmed.")
SHUT = Condition(status=False, reason="CustomerNotEntitled", message="Subscribe.")
DENIED = PodEvent(reason="NotEntitled", note="customer_not_entitled: Subscribe.", warning=True, key="a")
ENTITLED = PodEvent(reason="Entitled", note="registered: Confirmed.")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ClusterApi]:
    with ClusterApi(tmp_path) as server:
        yield server


def told(api: ClusterApi, condition: Condition | None, *events: PodEvent, at: datetime = NOON) -> list[WriteResult]:
    return list(write_all(api.access(), condition, events, at))


def outcomes(found: list[WriteResult]) -> list[tuple[WriteOutcome, int, str, str]]:
    return [(one.outcome, one.code, one.verb, one.resource) for one in found]


DONE = (WriteOutcome.DONE, 0, "", "")


# -- the condition


def test_the_condition_is_added_beside_the_others(api: ClusterApi) -> None:
    assert outcomes(told(api, OPEN)) == [DONE]
    assert api.shown() == {
        "type": CONDITION,
        "status": "True",
        "reason": "Registered",
        "message": "Confirmed.",
        "lastProbeTime": "2026-01-02T12:00:00Z",
        "lastTransitionTime": "2026-01-02T12:00:00Z",
    }
    assert api.conditions[0]["type"] == "ContainersReady"


@pytest.mark.parametrize(
    ("container", "type_"),
    [
        ("", CONDITION),
        ("gate", CONDITION),
        ("entitlement-sidecar", CONDITION),
        ("entitlement-sidecar-b", f"{CONDITION}-b"),
    ],
)
def test_two_products_of_a_pod_have_conditions_of_their_own(api: ClusterApi, container: str, type_: str) -> None:
    assert [one.outcome for one in write_all(replace(api.access(), container=container), OPEN, [], NOON)] == [
        WriteOutcome.DONE
    ]
    assert [one["type"] for one in api.conditions] == ["ContainersReady", type_]


def test_two_products_of_a_pod_have_events_of_their_own(api: ClusterApi) -> None:
    one, other = api.access(), replace(api.access(), container="entitlement-sidecar-b")
    assert event_name(one, DENIED) != event_name(other, DENIED)
    assert event_object(other, DENIED, NOON)["reportingComponent"] == "entitlement-sidecar-b"


def test_nothing_but_what_is_granted_is_asked_for(api: ClusterApi) -> None:
    told(api, OPEN, ENTITLED, ENTITLED)
    assert {(method, path.split("/shop/")[1].split("/")[0]) for method, path, _ in api.asked} == {
        ("PATCH", "pods"),
        ("POST", "events"),
        ("PATCH", "events"),
    }


def test_a_condition_that_is_there_is_not_written_again(api: ClusterApi) -> None:
    told(api, OPEN)
    api.asked.clear()
    assert outcomes(told(api, OPEN, at=NOON + timedelta(hours=1))) == [DONE]
    assert [body for _, _, body in api.asked] == [{"metadata": {"uid": api.access().uid}}]


def test_the_instant_of_the_turn_is_kept_until_it_turns(api: ClusterApi) -> None:
    later, last = NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)
    told(api, SHUT)
    told(api, replace(SHUT, reason="TokenNonce"), at=later)
    shown = api.shown() or {}
    assert (shown["reason"], shown["lastTransitionTime"]) == ("TokenNonce", "2026-01-02T12:00:00Z")
    told(api, OPEN, at=last)
    shown = api.shown() or {}
    assert (shown["status"], shown["lastTransitionTime"]) == ("True", "2026-01-02T12:02:00Z")


def test_a_pod_that_took_over_the_name_is_left_alone(api: ClusterApi) -> None:
    found = list(write_all(api.access(uid="another"), OPEN, (), NOON))
    assert outcomes(found) == [(WriteOutcome.REFUSED, 422, "patch", "pods/status")]
    assert api.shown() is None


# -- events


def test_an_event_is_about_the_own_pod(api: ClusterApi) -> None:
    assert outcomes(told(api, None, DENIED)) == [DONE]
    (event,) = api.events.values()
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "product-1",
        "namespace": "shop",
        "uid": api.access().uid,
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Warning",
        "NotEntitled",
        "customer_not_entitled: Subscribe.",
        1,
    )
    assert (event["reportingComponent"], event["reportingInstance"]) == ("entitlement-sidecar", "product-1")


def test_the_same_event_again_is_counted(api: ClusterApi) -> None:
    for minute in range(3):
        found = told(api, None, replace(DENIED, note=f"n{minute}"), at=NOON + timedelta(minutes=minute))
        assert outcomes(found) == [DONE]
    (event,) = api.events.values()
    assert (event["count"], event["message"], event["firstTimestamp"], event["lastTimestamp"]) == (
        3,
        "n2",
        "2026-01-02T12:00:00Z",
        "2026-01-02T12:02:00Z",
    )
    told(api, None, replace(DENIED, key="b"), ENTITLED)
    assert len(api.events) == 3


def test_an_event_whose_time_was_up_in_between_is_created_anew(api: ClusterApi) -> None:
    told(api, None, DENIED)

    def gone(method: str, _path: str) -> tuple[int, object] | None:
        if method == "PATCH":
            api.events.clear()
        return None

    api.fault = gone
    assert outcomes(told(api, None, DENIED)) == [DONE]
    assert [one["count"] for one in api.events.values()] == [1]


def test_long_texts_and_names_are_cut(api: ClusterApi) -> None:
    told(api, None, replace(DENIED, note="x" * 5000))
    (event,) = api.events.values()
    assert len(event["message"]) == NOTE_MAX
    long = api.access(pod="a" * 235 + "." + "b" * 17)
    assert len(event_name(long, DENIED)) <= NAME_MAX
    assert ".." not in event_name(long, DENIED)


# -- refusals and silence


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (400, WriteOutcome.REFUSED),
        (403, WriteOutcome.REFUSED),
        (404, WriteOutcome.REFUSED),
        (302, WriteOutcome.REFUSED),
        (408, WriteOutcome.UNREACHABLE),
        (429, WriteOutcome.UNREACHABLE),
        (500, WriteOutcome.UNREACHABLE),
        (503, WriteOutcome.UNREACHABLE),
    ],
)
def test_a_code_is_a_refusal_or_a_server_that_is_busy(api: ClusterApi, code: int, outcome: WriteOutcome) -> None:
    api.fault = lambda _method, path: (code, None) if "pods" in path else None
    found = told(api, OPEN, ENTITLED)
    assert outcomes(found)[0] == (outcome, code, "patch", "pods/status")
    assert found[1].outcome is (WriteOutcome.DONE if outcome is WriteOutcome.REFUSED else WriteOutcome.UNREACHABLE)
    assert not any("elsewhere" in path for _, path, _ in api.asked), "no redirect is followed"


def test_a_refused_count_names_the_right_to_patch(api: ClusterApi) -> None:
    told(api, None, DENIED)
    api.fault = lambda method, _path: (403, None) if method == "PATCH" else None
    assert outcomes(told(api, None, DENIED)) == [(WriteOutcome.REFUSED, 403, "patch", "events")]


def test_another_token_is_not_accepted(api: ClusterApi) -> None:
    (api.mount / "token").write_text("another")
    assert [(one.outcome, one.code, one.reason) for one in told(api, OPEN)] == [
        (WriteOutcome.REFUSED, 401, "Unauthorized")
    ]


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b'"x"', b"[" * 99_999])
def test_what_is_no_api_server_is_not_believed(api: ClusterApi, body: bytes) -> None:
    api.fault = lambda _method, _path: (200, body)
    assert [one.outcome for one in told(api, OPEN)] == [WriteOutcome.UNREACHABLE]


@pytest.mark.parametrize("name", ["token", "ca.crt"])
@pytest.mark.parametrize("content", [None, ""])
def test_a_mount_that_cannot_be_read_is_named(api: ClusterApi, name: str, content: str | None) -> None:
    (api.mount / name).unlink()
    if content is not None:
        (api.mount / name).write_text(content)
    (found,) = told(api, OPEN)
    assert found.outcome is WriteOutcome.UNREACHABLE
    assert str(api.mount) in found.reason
    assert api.asked == []


def test_a_certificate_of_another_authority_is_refused(api: ClusterApi, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    bundle, _ = certificate(other)
    (api.mount / "ca.crt").write_bytes(bundle.read_bytes())
    (found,) = told(api, OPEN)
    assert found.outcome is WriteOutcome.UNREACHABLE
    assert api.asked == []


def test_nobody_there_is_said_by_the_kind_of_error(api: ClusterApi) -> None:
    found = list(write_all(api.access(port=str(free_port())), OPEN, (ENTITLED, DENIED), NOON))
    assert [one.outcome for one in found] == [WriteOutcome.UNREACHABLE] * 3
    assert "Error" in found[0].reason


def test_a_server_that_hangs_costs_one_timeout(api: ClusterApi) -> None:
    api.hangs = True
    began = time.monotonic()
    found = list(write_all(api.access(), OPEN, (ENTITLED, DENIED), NOON, timeout=(0.5, 0.5)))
    assert [one.outcome for one in found] == [WriteOutcome.UNREACHABLE] * 3
    assert time.monotonic() - began < 3


def test_what_follows_goes_over_the_same_connection(api: ClusterApi) -> None:
    told(api, OPEN, ENTITLED, DENIED)
    assert (len(api.asked), api.connections) == (4, 1)


def test_a_token_that_is_no_header_is_not_sent(api: ClusterApi) -> None:
    for content in (f"{TOKEN}\r\nX: y", "é", f"{TOKEN}\x00"):
        (api.mount / "token").write_text(content)
        (found,) = told(api, OPEN)
        assert (found.outcome, str(api.mount) in found.reason) == (WriteOutcome.UNREACHABLE, True)
    assert api.asked == []


def test_a_port_that_is_no_number_is_an_answer_that_does_not_come(api: ClusterApi) -> None:
    assert [one.outcome for one in write_all(api.access(port="https"), OPEN, (), NOON)] == [WriteOutcome.UNREACHABLE]


@pytest.mark.parametrize(
    "wrong", [{"port": "9" * 20}, {"host": "a..b"}, {"host": "a b"}, {"namespace": "é"}, {"pod": "a b"}], ids=str
)
def test_what_cannot_be_asked_is_an_answer_that_does_not_come(api: ClusterApi, wrong: dict[str, str]) -> None:
    found = [one.outcome for one in write_all(api.access(**wrong), OPEN, (ENTITLED,), NOON)]
    assert found == [WriteOutcome.UNREACHABLE] * 2
    assert api.asked == []


def test_an_answer_without_an_end_is_not_believed(api: ClusterApi) -> None:
    api.fault = lambda _method, _path: (200, b'{"a": "' + b"x" * BYTES_MAX + b'"}')
    assert [one.outcome for one in told(api, OPEN)] == [WriteOutcome.UNREACHABLE]


def test_no_proxy_sees_the_token(api: ClusterApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert outcomes(told(api, OPEN)) == [DONE]


# -- the child


def by_child(api: ClusterApi, condition: Condition | None, *events: PodEvent) -> tuple[list[WriteResult], str | None]:
    update = StatusUpdate(api=api.access(), condition=condition, events=events)
    results, failure = read_results(process.spawn(update), update, time.monotonic() + 20)
    return results, failure.crash if failure else None


def test_a_spawned_child_tells_it(api: ClusterApi) -> None:
    found, broken = by_child(api, OPEN, ENTITLED)
    assert (outcomes(found), broken) == ([DONE, DONE], None)
    assert (api.shown() or {})["status"] == "True"


def test_neither_token_nor_body_comes_back(api: ClusterApi) -> None:
    """This server repeats the token in its messages."""
    for code in (401, 403, 500):
        api.fault = lambda _method, _path, code=code: (code, None)  # type: ignore[misc]
        found, broken = by_child(api, OPEN, ENTITLED)
        assert TOKEN not in f"{found} {broken}"


# -- the reporter, with real children


@pytest.fixture
def events() -> Iterator[Events]:
    with logged_events() as found:
        yield found


@pytest.mark.slow
def test_a_change_is_on_the_pod_within_seconds_of_an_api_server_restart(api: ClusterApi, events: Events) -> None:
    seen = [Snapshot(answered=True, status="denied", reason="customer_not_entitled", hint="Subscribe.")]
    one = PodStatusReporter(
        api=api.access(), snapshot=lambda: seen[0], clock=SystemClock(), restart_state=RestartState()
    )
    api.fault = lambda _method, _path: (503, None)
    one.start()
    one.changed()
    assert events.wait_for("kubernetes.held")
    api.fault = lambda _method, _path: None
    wait_for(api.shown)
    assert events.wait_for("kubernetes.recovered")
    began = time.monotonic()
    seen[0] = Snapshot(answered=True, status="entitled", reason="registered", hint="Confirmed.")
    one.changed()
    wait_for(lambda: (api.shown() or {})["status"] == "True")
    assert time.monotonic() - began < 5
    one.stop()
    wait_for(one.stopped)
    assert sorted(event["reason"] for event in api.events.values()) == ["Entitled", "NotEntitled"]
    assert TOKEN not in json.dumps([record.__dict__ for record in events.records], default=str)


def test_the_end_does_not_wait_for_an_api_server_that_hangs(api: ClusterApi, events: Events) -> None:
    api.hangs = True
    seen = Snapshot(answered=True, status="denied", reason="customer_not_entitled", hint="Subscribe.")
    one = PodStatusReporter(api=api.access(), snapshot=lambda: seen, clock=SystemClock(), restart_state=RestartState())
    one.start()
    one.changed()
    wait_for(lambda: api.asked)
    began = time.monotonic()
    one.stop()
    wait_for(one.stopped)
    assert time.monotonic() - began < 4
