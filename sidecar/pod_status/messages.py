"""What is the cluster told through a short-lived child? The notice, and how its answers are heard.

Leaves to others what is told (`tidings`), when (`herald`) and how (`platform.pod_status`).

Rules kept here:
- One line for the condition, where there is one, and one for each event, in their order.
- There is an answer for everything, whatever became of the child: a child that goes silent is killed and reaped, and
  what it did not answer is told again; told twice, it is a count and no second event.
- The token stays in its file: the notice names the directory, and the answers hold a code and a word.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from sidecar.platform.eks import ApiAccess
from sidecar.pod_status.writer import Condition, Outcome, PodEvent, Told

if TYPE_CHECKING:
    from sidecar.child.process import Child

KIND: Final = "notice"
"""Tells this question from the other kinds."""
BUDGET_SECONDS: Final = 25.0
"""For a child to start and to be answered; past its first silence it asks nothing more."""
TEXT_MAX: Final = 200


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What is to be told, about which pod."""

    api: ApiAccess
    condition: Condition | None
    events: tuple[PodEvent, ...] = ()

    def __len__(self) -> int:
        """How many things are told."""
        return len(self.events) + (self.condition is not None)

    def as_json(self) -> str:
        return json.dumps({"kind": KIND, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError."""
        try:
            given = json.loads(text)
            if given.pop("kind") != KIND:
                raise ValueError("another kind of question")
            wanted = given.pop("condition")
            return cls(
                api=ApiAccess(**given.pop("api")),
                condition=None if wanted is None else Condition(**wanted),
                events=tuple(PodEvent(**one) for one in given.pop("events")),
                **given,
            )
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as exc:
            raise ValueError("not a notice") from exc


def told_line(told: Told) -> str:
    """One line of the child's."""
    return json.dumps({**asdict(told), "outcome": told.outcome.value})


def read_told(line: str | bytes) -> Told:
    """A line of the child's, with its texts cut. Raises ValueError."""
    try:
        given: dict[str, Any] = json.loads(line)
        code, outcome = given.pop("code"), Outcome(given.pop("outcome"))
        if isinstance(code, bool) or not isinstance(code, int):
            raise ValueError("no code")
        return Told(outcome=outcome, code=code, **{name: _text(value) for name, value in given.items()})
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as exc:
        raise ValueError("not an answer") from exc


def answers(child: Child, notice: Notice, deadline: float) -> tuple[list[Told], str | None]:
    """An answer for each thing, heard until `deadline` (monotonic); and what a child that broke said of it.

    When this returns the child has been killed and reaped.
    """
    heard: list[Told] = []
    code, broken = "", None
    try:
        while len(heard) < len(notice) and not code:
            line = child.line(deadline)
            if line is None:
                code = "child_failed" if child.ended else "child_timed_out"
                break
            try:
                heard.append(read_told(line))
            except ValueError:
                code, broken = "child_failed", _crash(line)
    finally:
        child.close()
    return heard + [Told(outcome=Outcome.UNREACHABLE, reason=code)] * (len(notice) - len(heard)), broken


def _crash(line: bytes) -> str:
    """What a crashing child could still say: exception class and place."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return str(found.get("crashed"))[:TEXT_MAX] if isinstance(found, dict) else "unreadable"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value[:TEXT_MAX]
