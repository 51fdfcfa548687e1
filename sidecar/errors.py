"""Define what can go wrong, split by who can act, and the exit codes.

    SidecarError
    ├── SettingsError   the operator or the seller must change a setting
    ├── TokenRejected   AWS's answer does not prove what it claims
    ├── LedgerError     the disk does not keep what it should (see `ledger.errors`)
    ├── DecisionRefused a person asked for what cannot be done here
    └── PlatformError   the task or pod is not placed or described as AWS needs

Invariants:
- Each error has a `reason` that never changes (operators alert on it) and a `hint`, the next step.
- Neither ever holds a token, a key or a credential.
- An expected answer of AWS is a value (see `entitlement.classify`), not an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from sidecar.quick_dataclasses import dataclass


class Exit(IntEnum):
    """Exit codes of the commands; 65, 69, 70 and 78 are those of sysexits.h."""

    OK = 0
    FAILED = 1
    REFUSED = 65
    """What was given is wrong; given again it would be refused again."""
    UNAVAILABLE = 69
    """There was no sidecar to ask, or the wait ran out."""
    SOFTWARE = 70
    """The sidecar itself broke; the termination message says where."""
    DENIED = 77
    """AWS says no, or its answer does not verify."""
    CONFIG = 78
    """A setting is wrong; nothing was started."""
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127


ExitProcess = Callable[[Exit, str], None]
"""Ends the whole process with this code, and with this text in the termination message."""


DATA_ERRORS: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What code raises about a value that it cannot digest. A loop that must go on catches these around one piece of its
work, puts that aside and names it; anything else is an error of ours, and ends the loop."""


class SidecarError(Exception):
    """The root. `reason` is stable snake_case, `hint` is one or two sentences for a person."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with one setting."""

    setting: str
    """As the reader wrote it: `SIDECAR_ON_DENIED`, `on_denied` in a file, `--on-denied`."""
    fault: str
    example: str = ""

    @property
    def text(self) -> str:
        """The fault and the example, for a message that names the setting elsewhere."""
        return self.fault + (f" Example: {self.example}" if self.example else "")

    def __str__(self) -> str:
        return f"{self.setting}: {self.text}"


class SettingsError(SidecarError):
    """Every bad setting at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("bad_settings", "; ".join(str(problem) for problem in self.problems))

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} setting{' is' if count == 1 else 's are'} wrong; nothing was started."
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])


class TokenRejected(SidecarError):
    """A token that does not prove our registration. The reason may be logged, the token may not."""


class DecisionRefused(SidecarError):
    """A person's decision about records that cannot be made here; given again it is refused again."""

    def __init__(self, status: int, reason: str, hint: str) -> None:
        """`status` is HTTP's: 404 or 409."""
        super().__init__(reason, hint)
        self.status = status


class PlatformError(SidecarError):
    """Where we run contradicts itself or cannot be read."""
