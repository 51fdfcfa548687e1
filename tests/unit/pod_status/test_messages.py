"""Everything in a notice has an answer, whatever became of the child."""

from __future__ import annotations

import json
import time

import pytest

from sidecar.platform.eks import ApiAccess
from sidecar.pod_status.messages import TEXT_MAX, StatusUpdate, answers, read_told, told_line
from sidecar.pod_status.writer import Condition, Outcome, PodEvent, Told
from tests.fakes import FakeChild, crashed

API = ApiAccess(mount="/mount", host="10.0.0.1", port="443", pod="product-1", namespace="shop", uid="6f1c")
NOTICE = StatusUpdate(
    api=API,
    condition=Condition(status=True, reason="Registered"),
    events=(PodEvent(reason="Entitled", note="registered"), PodEvent(reason="UsageWaiting", note="2", warning=True)),
)
DONE = Told(outcome=Outcome.DONE)
REFUSED = Told(outcome=Outcome.REFUSED, code=403, reason="Forbidden", verb="create", resource="events")


def heard(*lines: bytes | None) -> tuple[list[Told], str | None, FakeChild]:
    speaker = FakeChild(lines=list(lines))
    told, broken = answers(speaker, NOTICE, time.monotonic() + 1)  # type: ignore[arg-type]
    return told, broken, speaker


def test_a_notice_comes_back_the_same() -> None:
    assert StatusUpdate.from_json(NOTICE.as_json()) == NOTICE
    without = StatusUpdate(api=API, condition=None)
    assert StatusUpdate.from_json(without.as_json()) == without
    assert (len(NOTICE), len(without)) == (3, 0)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"kind": "question"}', '{"kind": "notice"}', "[" * 99_999])
def test_what_is_no_notice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a notice"):
        StatusUpdate.from_json(text)


@pytest.mark.parametrize("told", [DONE, REFUSED, Told(outcome=Outcome.UNREACHABLE, reason="NewConnectionError")])
def test_an_answer_comes_back_the_same(told: Told) -> None:
    assert read_told(told_line(told)) == told


@pytest.mark.parametrize(
    "change", [{"outcome": "well"}, {"code": "403"}, {"code": True}, {"reason": 7}, {"more": "x"}, {"verb": None}]
)
def test_what_is_no_answer_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        read_told(json.dumps(json.loads(told_line(DONE)) | change))


def test_texts_are_cut() -> None:
    assert len(read_told(told_line(Told(outcome=Outcome.UNREACHABLE, reason="x" * 999))).reason) == TEXT_MAX


def test_every_line_is_heard_in_order() -> None:
    told, broken, child = heard(*(told_line(one).encode() for one in (DONE, REFUSED, DONE)))
    assert (told, broken, child.closed) == ([DONE, REFUSED, DONE], None, True)


def test_a_child_that_ends_early_leaves_the_rest_untold() -> None:
    told, broken, child = heard(told_line(DONE).encode())
    assert [one.outcome for one in told] == [Outcome.DONE, Outcome.UNREACHABLE, Outcome.UNREACHABLE]
    assert (told[1].reason, broken, child.closed) == ("child_failed", None, True)


def test_a_child_that_says_nothing_in_time_is_closed() -> None:
    told, _, child = heard(None)
    assert {one.outcome for one in told} == {Outcome.UNREACHABLE}
    assert child.closed


def test_a_child_that_crashes_says_where() -> None:
    told, broken, _ = heard(*crashed("KeyError at pod_status.py:1").lines)
    assert {one.reason for one in told} == {"child_failed"}
    assert broken == "KeyError at pod_status.py:1"
    assert heard(b"\xff")[1] == "unreadable"
