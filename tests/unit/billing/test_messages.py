"""Every request of a submission has an answer, whatever became of the child."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from sidecar.billing.job import stops_batch
from sidecar.billing.messages import TEXT_MAX, Submission, SubmissionResult, budget_seconds, read_results
from sidecar.child import process
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.rollup import Allocation
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes import FakeChild

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


def heard(*lines: bytes | None) -> tuple[list[Outcome], FakeChild]:
    """The outcomes of THREE, from a child that says these lines."""
    speaker = FakeChild(lines=list(lines))
    found = read_results(speaker, THREE, time.monotonic() + 1)  # type: ignore[arg-type]
    return [one.outcome for one in found], speaker


def line(answered: SubmissionResult = YES) -> bytes:
    return answered.as_json().encode()


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


# -- heard by the parent -----------------------------------------------------------------------------


def test_each_request_has_the_answer_that_was_given_to_it() -> None:
    said = [replace(YES, outcome=outcome) for outcome in ALL[:3]]
    found, speaker = heard(*map(line, said))
    assert found == ALL[:3]
    assert speaker.closed


def test_what_a_child_says_beyond_its_requests_is_not_heard() -> None:
    found, speaker = heard(*[line()] * 5)
    assert len(found) == 3
    assert speaker.closed


def test_the_request_a_child_died_on_may_be_billed_and_those_after_it_are_not() -> None:
    found, speaker = heard(line())
    code = "child_failed"
    assert found == [YES.outcome, Unknown(code=code), Refused(code=code, sent=False)]
    assert speaker.closed


def test_a_child_that_died_at_once_leaves_the_first_in_doubt() -> None:
    found, _ = heard()
    assert found == [Unknown(code="child_failed"), *[Refused(code="child_failed", sent=False)] * 2]


def test_a_child_whose_time_is_up_is_ended_before_its_requests_are_called_unsent() -> None:
    found, speaker = heard(line(), None)
    code = "child_timed_out"
    assert found == [YES.outcome, Unknown(code=code), Refused(code=code, sent=False)]
    assert speaker.closed


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_that_is_none_of_ours_ends_the_hearing(text: bytes) -> None:
    found, speaker = heard(text, line(), line())
    assert found == [Unknown(code="child_failed"), *[Refused(code="child_failed", sent=False)] * 2]
    assert speaker.closed


def test_no_request_needs_no_answer() -> None:
    speaker = FakeChild()
    assert read_results(speaker, replace(THREE, requests=()), time.monotonic()) == []  # type: ignore[arg-type]
    assert speaker.closed


def test_a_child_that_says_too_much_is_killed_and_reaped() -> None:
    """It would go on sending what is called unsent."""
    reads, writes = os.pipe()
    script = "import os, time\nwhile True:\n  os.write(1, b'x' * 65536)\n"
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", script], {}, file_actions=[(os.POSIX_SPAWN_DUP2, writes, 1)]
    )
    os.close(writes)
    speaker = process.ChildProcess(pid=pid, pipe=reads, spawned=True)
    found = [one.outcome for one in read_results(speaker, THREE, time.monotonic() + 30)]
    assert found == [Unknown(code="child_failed"), *[Refused(code="child_failed", sent=False)] * 2]
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.parametrize(("requests", "seconds"), [(0, 20), (1, 35), (2, 50), (6, 110), (7, 120), (100, 120)])
def test_a_submission_has_fifteen_seconds_for_each_request_and_two_minutes_in_all(requests: int, seconds: int) -> None:
    assert budget_seconds(requests) == seconds


# -- what holds the others ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(code="ThrottlingException", retry_after_seconds=9.0),
        Refused(code="NoCredentialsError", sent=False),
        Refused(code="EndpointConnectionError", sent=False),
        Refused(code="AccessDeniedException"),
        Refused(code="InvalidSignatureException", message="expired"),
        Refused(code="503"),
        Refused(code="NeverSeenError", sent=False),
        Unknown(code="ReadTimeoutError"),
    ],
)
def test_what_holds_every_record_is_said_of_the_others_unsent(outcome: Any) -> None:
    held = stops_batch(outcome)
    assert held is not None
    assert (held.code, held.sent) == (outcome.code, False)
    assert held.message == getattr(outcome, "message", "")
    assert held.retry_after_seconds == getattr(outcome, "retry_after_seconds", None)


@pytest.mark.parametrize(
    "outcome",
    [
        Settled(record_id="r"),
        Refused(code="DuplicateRequestException"),
        Refused(code="InvalidTagException"),
        Refused(code="TimestampOutOfBoundsException"),
        Refused(code="InternalServiceErrorException"),
        Refused(code="NeverSeenException"),
        Refused(code="DecimalsUnsupported", sent=False),
        Unknown(code="record_id_missing"),
    ],
)
def test_what_may_be_about_one_record_holds_no_other(outcome: Outcome) -> None:
    assert stops_batch(outcome) is None
