"""Every request of a submission has an answer, whatever became of the child."""

from __future__ import annotations

import json
import os
import sys
import time
from decimal import Decimal
from typing import Final

import pytest

from sidecar.billing.messages import TEXT_MAX, Submission, SubmissionResult, budget_seconds, read_results
from sidecar.child import process
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.rollup import Allocation
from sidecar.metering.sealed_request import SealedRequest
from sidecar.quick_dataclasses import replace
from tests.fakes.child import FakeChild

REQUEST: Final = SealedRequest(
    product_code="prod1",
    dimension="requests",
    timestamp=1_769_903_999,
    quantity="7.5",
    decimals=1,
    allocations=(
        Allocation(tags=(("team", "red"),), quantity=Decimal("7")),
        Allocation(tags=(), quantity=Decimal("0.5")),
    ),
    client_token="7c0f",
)
THREE: Final = Submission(
    requests=tuple(replace(REQUEST, client_token=f"t{n}") for n in range(3)),
    region="us-east-1",
    endpoint_url=None,
)
YES: Final = SubmissionResult(outcome=Settled(record_id="r-1"), request_id="q-1", account="123456789012", role="arn:x")
ALL: Final[list[Outcome]] = [
    Settled(record_id="r-1"),
    Refused(code="ThrottlingException", retry_after_seconds=2.5),
    Refused(code="InvalidSignatureException", message="expired", sent=False),
    Unknown(code="ReadTimeoutError"),
]


def results_of(*lines: bytes | None) -> tuple[list[Outcome], FakeChild]:
    """Return the outcomes of THREE, from a child that writes these lines."""
    child = FakeChild(lines=list(lines))
    found = read_results(child, THREE, time.monotonic() + 1)  # type: ignore[arg-type]
    return [one.outcome for one in found], child


def line(result: SubmissionResult = YES) -> bytes:
    return result.as_json().encode()


def edited(of: SubmissionResult = YES, **outcome: object) -> bytes:
    given = json.loads(of.as_json())
    given["outcome"].update(outcome)
    return json.dumps(given).encode()


# -- the lines ---------------------------------------------------------------------------------------


def from_json(submission: Submission) -> Submission:
    """The submission as the child gets it."""
    payload = json.loads(submission.as_json())
    assert payload.pop("job") == "submit"
    return Submission.from_payload(payload)


def test_a_submission_comes_back_the_same() -> None:
    assert from_json(THREE) == THREE


@pytest.mark.parametrize("outcome", ALL)
def test_an_answer_comes_back_the_same_on_one_line(outcome: Outcome) -> None:
    answered = replace(YES, outcome=outcome)
    assert "\n" not in answered.as_json()
    assert SubmissionResult.from_json(answered.as_json()) == answered


REFUSED: Final = SubmissionResult(outcome=Refused(code="X"))
HOSTILE: Final[list[bytes]] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"crashed": "ValueError at meter.py:1"}',
    b'{"outcome": null}',
    b'{"outcome": []}',
    b"\xff\xfe",
    edited(kind="Promised"),
    edited(kind=None),
    edited(record_id=""),
    edited(record_id=" "),
    edited(record_id=None),
    edited(record_id=7),
    edited(more="x"),
    edited(REFUSED, code=""),
    edited(REFUSED, sent=1),
    edited(REFUSED, sent=None),
    edited(REFUSED, message=None),
    edited(REFUSED, retry_after_seconds="1"),
    edited(REFUSED, retry_after_seconds=True),
    edited(REFUSED, retry_after_seconds=-1),
    edited(REFUSED, retry_after_seconds=float("nan")),
    json.dumps({**json.loads(YES.as_json()), "request_id": 7}).encode(),
    json.dumps({**json.loads(YES.as_json()), "more": "x"}).encode(),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_that_is_none_of_ours_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        SubmissionResult.from_json(text)


def test_texts_and_spans_are_cut() -> None:
    long = SubmissionResult(
        outcome=Refused(code="X" * 9999, message="m" * 9999, retry_after_seconds=1e300), role="r" * 9999
    )
    found = SubmissionResult.from_json(long.as_json())
    assert isinstance(found.outcome, Refused)
    assert {len(found.outcome.code), len(found.outcome.message), len(found.role)} == {TEXT_MAX}
    assert found.outcome.retry_after_seconds == 300
    endless = edited(REFUSED, retry_after_seconds=10**400)
    assert isinstance(outcome := SubmissionResult.from_json(endless).outcome, Refused)
    assert outcome.retry_after_seconds == 300


# -- read by the parent ------------------------------------------------------------------------------


def test_each_request_has_its_result() -> None:
    written = [replace(YES, outcome=outcome) for outcome in ALL[:3]]
    found, child = results_of(*map(line, written))
    assert found == ALL[:3]
    assert child.closed


def test_lines_beyond_the_requests_are_not_read() -> None:
    found, child = results_of(*[line()] * 5)
    assert len(found) == 3
    assert child.closed


def test_the_request_a_child_died_on_may_be_billed_later_ones_are_not() -> None:
    found, child = results_of(line())
    code = "child_failed"
    assert found == [YES.outcome, Unknown(code=code), Refused(code=code, sent=False)]
    assert child.closed


def test_a_child_that_died_at_once_may_have_sent_the_first_request() -> None:
    found, _ = results_of()
    assert found == [Unknown(code="child_failed"), *[Refused(code="child_failed", sent=False)] * 2]


def test_a_child_that_takes_too_long_is_ended_before_its_results_are_used() -> None:
    found, child = results_of(line(), None)
    code = "child_timed_out"
    assert found == [YES.outcome, Unknown(code=code), Refused(code=code, sent=False)]
    assert child.closed


@pytest.mark.parametrize("text", HOSTILE)
def test_after_a_line_that_does_not_parse_nothing_is_read(text: bytes) -> None:
    found, child = results_of(text, line(), line())
    assert found == [Unknown(code="child_failed"), *[Refused(code="child_failed", sent=False)] * 2]
    assert child.closed


def test_no_request_has_no_result() -> None:
    child = FakeChild()
    assert read_results(child, replace(THREE, requests=()), time.monotonic()) == []  # type: ignore[arg-type]
    assert child.closed


def test_a_child_that_writes_too_much_is_killed_and_reaped() -> None:
    """It would go on sending requests that count as not sent."""
    reads, writes = os.pipe()
    script = "import os, time\nwhile True:\n  os.write(1, b'x' * 65536)\n"
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", script], {}, file_actions=[(os.POSIX_SPAWN_DUP2, writes, 1)]
    )
    os.close(writes)
    child = process.ChildProcess(pid=pid, pipe=reads, spawned=True)
    found = [one.outcome for one in read_results(child, THREE, time.monotonic() + 30)]
    assert found == [Unknown(code="child_failed"), *[Refused(code="child_failed", sent=False)] * 2]
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.parametrize(("requests", "seconds"), [(0, 20), (1, 35), (2, 50), (6, 110), (7, 120), (100, 120)])
def test_a_submission_has_15_seconds_a_request_and_two_minutes_at_most(requests: int, seconds: int) -> None:
    assert budget_seconds(requests) == seconds
