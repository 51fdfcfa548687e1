"""Define what a method of checking the entitlement is. There are three: registration, dry run and checkout.

A setting chooses it (`entitlement_check`); identity, and what becomes of the answer, are the same for all (`job`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from sidecar.entitlement.answer import AnsweredBy, ErrorRow
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.quick_dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """AWS lets the workload run, now or before."""

    explanation: tuple[str, str]
    """Reason and hint."""
    asked: AnsweredBy
    request_id: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Fields of the result that only this method has."""
    to_keep: str = field(default="", repr=False)
    """What opens the gate again after a restart. May hold a token."""
    also_keep: Mapping[Path, str] = field(default_factory=dict, repr=False)
    """File → text that is kept beside it. May hold tokens."""
    when_kept: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Called after these files were replaced, or could not be: it lets other children use them."""


@dataclass(frozen=True, kw_only=True)
class NotAllowed:
    """AWS refuses, or could not be asked."""

    row: ErrorRow
    code: str
    hint: str
    reply: CallFailed | None = None
    """None where AWS was not asked, or its answer did not verify."""
    dimension: str = ""
    """Which one was asked about."""
    license: str = ""
    """Likewise."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Fields of the result that only this method has."""


class CheckMethod(Protocol):
    """Asks for one workload."""

    @property
    def answer_path(self) -> Path:
        """Return where its answer is kept."""

    def ask(self, marketplace: Marketplace) -> Allowed | NotAllowed:
        """Ask AWS, as often as this method does. Raises nothing of the SDK's."""

    def reopen(self, text: str) -> Allowed:
        """Return what a kept answer proves. Raises TokenRejected."""
