"""Define what a check of one target comes to: findings, and rules that could not be checked.

Invariants:
- No text holds a secret: a finding says where one is and of what kind it is, never its value.
- No text has a character that a terminal would obey.
- A rule that could not be checked is named with the reason; it is never counted as kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from sidecar.listing.rule import Rule
from sidecar.printable import one_line
from sidecar.quick_dataclasses import dataclass


class Kind(Enum):
    """What can be checked; the value is the name of its flag."""

    CHART = "chart"
    IMAGE = "image"
    TASK_DEFINITION = "task-definition"
    MANIFEST = "manifest"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing to check."""

    kind: Kind
    name: str
    """As the reader wrote it: a path, or the name of an image."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place that breaks a rule."""

    rule: Rule
    message: str
    """What is wrong in this place, in a sentence that names the value."""
    file: str = ""
    """Path on this machine, as far as possible relative to where the command runs; empty: the target itself."""
    line: int | None = None
    """From 1."""
    column: int | None = None
    """From 1."""
    place: str = ""
    """Place inside: a path in the image, a field of a definition, a key of values."""
    seen: str = ""
    """The value, as far as it is no secret."""

    def __post_init__(self) -> None:
        for name in ("message", "file", "place", "seen"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class NotChecked:
    """A rule that could not be checked, and why."""

    rule: Rule
    reason: str
    """What is missing and how to get it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check of one target came to."""

    findings: Sequence[Finding] = ()
    not_checked: Sequence[NotChecked] = ()
    complete: bool = True
    """False: the target could not be read, and no rule but those of the findings was checked."""
