"""Define the messages between the worker and the child that submits usage, and read the results.

`submitter` decides when and what is submitted, `metering.decide` what an outcome means for a record. The child's part
is `job`.

Invariants:
- One line for each request, in their order; the child sends one after the other.
- Every request gets a result. The one in progress when the child stopped answering may have been billed; those after it
  were not. So the child is killed and reaped before the results are used.
- A line that does not parse means a broken child. Texts are cut to the length they can have.
- No token, key or credential goes either way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from sidecar.child.process import ChildProcess, read_messages
from sidecar.metering.drawdown import CALLS_MAX
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.sealed_request import SealedRequest
from sidecar.quick_dataclasses import asdict, dataclass

JOB: Final = "submit"
"""The job's name in `child.main.JOBS`."""
TEXT_MAX: Final = 512
"""Characters of a text in a result. A metering record id is a UUID, a role ARN at most 2048 long but
in practice under 200."""
RETRY_AFTER_SECONDS_MAX: Final = 300.0

START_SECONDS: Final = 20.0
"""For the child to start and to fetch credentials: one call of STS."""
REQUEST_SECONDS: Final = 15.0
"""Five to connect, ten to be answered."""
BUDGET_SECONDS_MAX: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Sealed requests to be sent, in this order."""

    requests: tuple[SealedRequest, ...]
    region: str
    endpoint_url: str | None
    workload: str = ""
    """An ECS task's ARN names the account, which the results repeat."""

    def as_json(self) -> str:
        """Return the request to the child."""
        rest = {"region": self.region, "endpoint_url": self.endpoint_url, "workload": self.workload}
        return json.dumps({"job": JOB, "requests": [one.as_json() for one in self.requests], **rest})

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the submission that a child was given."""
        requests = tuple(SealedRequest.from_json(one) for one in payload["requests"])
        return cls(**{**payload, "requests": requests})


@dataclass(frozen=True, kw_only=True)
class SubmissionResult:
    """What came of one request, and whose usage it was; empty where that is not known."""

    outcome: Outcome
    request_id: str = ""
    account: str = ""
    role: str = ""

    def as_json(self) -> str:
        """Return one line."""
        outcome = {"kind": type(self.outcome).__name__, **asdict(self.outcome)}
        return json.dumps({**asdict(self), "outcome": outcome})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a result with its texts cut. Raises ValueError."""
        try:
            given: dict[str, Any] = json.loads(text)
            outcome = _outcome(**given.pop("outcome"))
            return cls(outcome=outcome, **{name: _text(value) for name, value in given.items()})
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as exc:
            raise ValueError("not a result") from exc


def calls_of(requests: Iterable[SealedRequest]) -> int:
    """Return how many calls the requests may take: a drawdown's answer that is lost is asked for again at once."""
    return sum(CALLS_MAX if one.drawdown else 1 for one in requests)


def budget_seconds(calls: int) -> float:
    """Return how long a submission of so many calls may take before its child is killed."""
    return min(START_SECONDS + REQUEST_SECONDS * calls, BUDGET_SECONDS_MAX)


def read_results(child: ChildProcess, submission: Submission, deadline: float) -> list[SubmissionResult]:
    """Return a result for each request, in order, read until `deadline` (monotonic).

    When this returns the child has been killed and reaped: what it had not sent, it will not send.
    """
    count = len(submission.requests)
    found, failure = read_messages(child, SubmissionResult.from_json, count, deadline)
    return found + missing_results(count - len(found), failure.code if failure else "")


def missing_results(count: int, code: str) -> list[SubmissionResult]:
    """Return results for the last `count` requests: the first may have been sent, the others were not."""
    lost: list[Outcome] = [Unknown(code=code), *[Refused(code=code, sent=False)] * (count - 1)]
    return [SubmissionResult(outcome=outcome) for outcome in lost[:count]]


def _outcome(kind: str, **fields: Any) -> Outcome:
    """Return the outcome of this kind. Raises ValueError, TypeError or KeyError."""
    if kind == Settled.__name__:
        return Settled(record_id=_nonempty(fields.pop("record_id")), **fields)
    if kind == Unknown.__name__:
        return Unknown(code=_nonempty(fields.pop("code")), **fields)
    if kind != Refused.__name__:
        raise ValueError("no such outcome")
    sent, seconds = fields.pop("sent"), fields.pop("retry_after_seconds")
    if not isinstance(sent, bool):
        raise ValueError("sent is yes or no")
    return Refused(
        code=_nonempty(fields.pop("code")),
        message=_text(fields.pop("message")),
        retry_after_seconds=None if seconds is None else _seconds(seconds),
        sent=sent,
        **fields,
    )


def _nonempty(value: object) -> str:
    """Return a text that is not blank. Raises ValueError."""
    text = _text(value)
    if not text.strip():
        raise ValueError("empty")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value[:TEXT_MAX]


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError("no span")
    return float(min(value, RETRY_AFTER_SECONDS_MAX))
