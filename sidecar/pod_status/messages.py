"""Define the messages between the worker and the child that writes pod status.

`changes` decides what is written, `reporter` when, and `writer` how.

Invariants:
- One line for the condition, where there is one, and one for each event, in their order.
- There is a result for everything, whatever became of the child: a silent child is killed and reaped, and what has no
  result is written again; an event written twice is a count and no second event.
- The token stays in its file: the update names the directory, and the results hold a code and a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Self

from sidecar.child.process import ChildFailure, ChildProcess, read_messages
from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult
from sidecar.quick_dataclasses import asdict, dataclass

JOB: Final = "report"
"""The job's name in `child.main.JOBS`."""
BUDGET_SECONDS: Final = 25.0
"""For a child to start and to be answered; past its first silence it asks nothing more."""
TEXT_MAX: Final = 200


@dataclass(frozen=True, kw_only=True)
class StatusUpdate:
    """What is to be written, and to which pod."""

    api: ApiAccess
    condition: Condition | None
    events: tuple[PodEvent, ...] = ()

    def __len__(self) -> int:
        """Return how many writes that are."""
        return len(self.events) + (self.condition is not None)

    def as_json(self) -> str:
        return json.dumps({"job": JOB, **asdict(self)})

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the update that a child was given."""
        wanted = payload["condition"]
        return cls(
            api=ApiAccess(**payload["api"]),
            condition=None if wanted is None else Condition(**wanted),
            events=tuple(PodEvent(**one) for one in payload["events"]),
        )


def result_line(result: WriteResult) -> str:
    """Return one line of the child's."""
    return json.dumps({**asdict(result), "outcome": result.outcome.value})


def read_result(line: str | bytes) -> WriteResult:
    """Return a line of the child's, with its texts cut. Raises ValueError."""
    try:
        given: dict[str, Any] = json.loads(line)
        code, outcome = given.pop("code"), WriteOutcome(given.pop("outcome"))
        if isinstance(code, bool) or not isinstance(code, int):
            raise ValueError("no code")
        return WriteResult(outcome=outcome, code=code, **{name: _text(value) for name, value in given.items()})
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as exc:
        raise ValueError("not a result") from exc


def read_results(
    child: ChildProcess, update: StatusUpdate, deadline: float
) -> tuple[list[WriteResult], ChildFailure | None]:
    """Return a result for each thing, read until `deadline` (monotonic), and why the child gave no more.

    When this returns the child has been killed and reaped.
    """
    found, failure = read_messages(child, read_result, len(update), deadline)
    missing = WriteResult(outcome=WriteOutcome.UNREACHABLE, reason=failure.code if failure else "")
    return found + [missing] * (len(update) - len(found)), failure


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value[:TEXT_MAX]
