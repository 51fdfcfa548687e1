"""What does HTTP need to know? The callables and values the agent hands in.

Rules kept here:
- Everything here reads memory and returns at once; probes are answered from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.entitlement.status import Standing


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One Prometheus metric with its samples: label values → value."""

    name: str
    """Without the common prefix."""
    kind: str
    """`gauge` or `counter`; a counter's name ends in `_total`."""
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


class View(Protocol):
    """What the routes read and may ask for."""

    product_code: str

    def standing(self) -> Standing:
        """Where the gate stands now."""

    def retry_after_seconds(self) -> int:
        """When a shut gate is worth another look, at least 1."""

    def stopped_loop(self) -> str | None:
        """The name of a loop that died, or None."""

    def metrics(self) -> Sequence[Metric]:
        """Everything there is to count."""

    def status(self) -> Mapping[str, object]:
        """The whole picture, for `GET /v1/status`."""

    def recheck(self) -> int:
        """Ask AWS again: 0 when it is being asked, otherwise seconds to wait before one may."""
