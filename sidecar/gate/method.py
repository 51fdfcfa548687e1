"""What is a way of asking AWS whether this workload may run? There are two: registration and dry run.

Which is used is a setting (`entitlement_check`); who asks from where, and what becomes of the answer, is
the same for both (`asking`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sidecar.entitlement.classify import Asked, Row
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.sdk_errors import Refused


@dataclass(frozen=True, kw_only=True)
class Yes:
    """AWS lets the workload run, now or before."""

    said: tuple[str, str]
    """Reason and hint."""
    asked: Asked
    request_id: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Fields of the report that only this way has."""
    to_keep: str = field(default="", repr=False)
    """What opens the gate again after a restart. May hold a token."""


@dataclass(frozen=True, kw_only=True)
class No:
    """AWS does not, or nobody could ask it."""

    row: Row
    code: str
    hint: str
    reply: Refused | None = None
    """None where AWS was not asked, or its answer did not verify."""
    dimension: str = ""
    """Which one was asked about."""


class Way(Protocol):
    """Asks for one workload."""

    @property
    def kept(self) -> Path:
        """Where its answer is kept."""

    def ask(self, marketplace: Marketplace) -> Yes | No:
        """Ask AWS, as often as this way does. Raises nothing of the SDK's."""

    def reopen(self, text: str) -> Yes:
        """What a kept answer proves. Raises TokenRejected."""
