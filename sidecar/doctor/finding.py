"""Define the result of a check: its status, what was seen, the rule and the fix.

Invariants:
- A check has one finding. Where it looked at several hosts or files, the worst status counts, and `seen` names each.
- No text holds a token, a key or a credential; none has a character that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Self

from sidecar.printable import lines
from sidecar.quick_dataclasses import dataclass


class Status(Enum):
    """What a check comes to."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    WARN = "warn"
    """It works, and should be changed all the same."""
    FAIL = "fail"
    """The sidecar does not work, or not for long, until this is mended."""
    SKIP = "skip"
    """Not checked; `seen` says why."""


WORST_FIRST: Final = (Status.FAIL, Status.WARN, Status.PASS, Status.SKIP)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    status: Status
    seen: str
    """What was looked at, and what it is: values, not judgements."""
    rule: str
    """What must be true, in one sentence."""
    fix: str = ""
    """The next step, as a command or a line to change; empty where nothing needs one."""

    def __post_init__(self) -> None:
        for name in ("seen", "rule", "fix"):
            object.__setattr__(self, name, lines(getattr(self, name).strip()))

    @classmethod
    def summed_up(cls, rule: str, parts: Sequence[Finding]) -> Self:
        """Return one finding for several things looked at: the worst status, what was seen of each, and every fix."""
        status = next(status for status in WORST_FIRST if any(part.status is status for part in parts))
        fixes = dict.fromkeys(part.fix for part in parts if part.fix and part.status is status)
        return cls(status=status, seen="; ".join(part.seen for part in parts), rule=rule, fix="\n".join(fixes))


def passed(rule: str, seen: str) -> Finding:
    return Finding(status=Status.PASS, seen=seen, rule=rule)


def warned(rule: str, seen: str, fix: str) -> Finding:
    return Finding(status=Status.WARN, seen=seen, rule=rule, fix=fix)


def failed(rule: str, seen: str, fix: str) -> Finding:
    return Finding(status=Status.FAIL, seen=seen, rule=rule, fix=fix)


def skipped(rule: str, seen: str, fix: str = "") -> Finding:
    return Finding(status=Status.SKIP, seen=seen, rule=rule, fix=fix)
