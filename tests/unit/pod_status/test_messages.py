"""Everything in a update has an answer, whatever became of the child."""

from __future__ import annotations

import json
import time

import pytest

from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.messages import TEXT_MAX, StatusUpdate, read_result, read_results, result_line
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult
from tests.fakes.child import FakeChild, crashed

API = ApiAccess(mount="/mount", host="10.0.0.1", port="443", pod="product-1", namespace="shop", uid="6f1c")
UPDATE = StatusUpdate(
    api=API,
    condition=Condition(status=True, reason="Registered"),
    events=(PodEvent(reason="Entitled", note="registered"), PodEvent(reason="UsageWaiting", note="2", warning=True)),
)
DONE = WriteResult(outcome=WriteOutcome.DONE)
REFUSED = WriteResult(outcome=WriteOutcome.REFUSED, code=403, reason="Forbidden", verb="create", resource="events")


def read_all(*lines: bytes | None) -> tuple[list[WriteResult], str | None, FakeChild]:
    speaker = FakeChild(lines=list(lines))
    told, failure = read_results(speaker, UPDATE, time.monotonic() + 1)  # type: ignore[arg-type]
    return told, failure.crash if failure else None, speaker


def test_an_update_comes_back_the_same() -> None:
    assert from_json(UPDATE) == UPDATE
    without = StatusUpdate(api=API, condition=None)
    assert from_json(without) == without
    assert (len(UPDATE), len(without)) == (3, 0)


def from_json(update: StatusUpdate) -> StatusUpdate:
    """The update as the child gets it."""
    payload = json.loads(update.as_json())
    assert payload.pop("job") == "report"
    return StatusUpdate.from_payload(payload)


@pytest.mark.parametrize(
    "told", [DONE, REFUSED, WriteResult(outcome=WriteOutcome.UNREACHABLE, reason="NewConnectionError")]
)
def test_an_answer_comes_back_the_same(told: WriteResult) -> None:
    assert read_result(result_line(told)) == told


@pytest.mark.parametrize(
    "change", [{"outcome": "well"}, {"code": "403"}, {"code": True}, {"reason": 7}, {"more": "x"}, {"verb": None}]
)
def test_what_is_no_answer_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a result"):
        read_result(json.dumps(json.loads(result_line(DONE)) | change))


def test_texts_are_cut() -> None:
    assert (
        len(read_result(result_line(WriteResult(outcome=WriteOutcome.UNREACHABLE, reason="x" * 999))).reason)
        == TEXT_MAX
    )


def test_every_line_is_heard_in_order() -> None:
    told, broken, child = read_all(*(result_line(one).encode() for one in (DONE, REFUSED, DONE)))
    assert (told, broken, child.closed) == ([DONE, REFUSED, DONE], None, True)


def test_a_child_that_ends_early_leaves_the_rest_untold() -> None:
    told, broken, child = read_all(result_line(DONE).encode())
    assert [one.outcome for one in told] == [WriteOutcome.DONE, WriteOutcome.UNREACHABLE, WriteOutcome.UNREACHABLE]
    assert (told[1].reason, broken, child.closed) == ("child_failed", None, True)


def test_a_child_that_says_nothing_in_time_is_closed() -> None:
    told, _, child = read_all(None)
    assert {one.outcome for one in told} == {WriteOutcome.UNREACHABLE}
    assert child.closed


def test_a_child_that_crashes_says_where() -> None:
    told, broken, _ = read_all(*crashed("KeyError at pod_status.py:1").lines)
    assert {one.reason for one in told} == {"child_failed"}
    assert broken == "KeyError at pod_status.py:1"
    assert read_all(b"\xff")[1] == "unreadable"
