"""Judge whether the billing loop runs, from what its thread noted last: stuck on a disk, stalled, or dead.

Invariants:
- The thread only notes instants; the thread that asks does the judging, and waits for nothing. So a disk that hangs in
  fsync for hours, or a loop that is gone, hides nothing.
- Time is what passed: a host that was suspended was not stuck.
- A container that was frozen looks stalled in the first moment after: an alarm needs two consecutive checks
  with the same finding.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sidecar.clock import Clock

T = TypeVar("T")
STUCK_SECONDS: Final = 10.0
"""A disk that takes longer for one step does not answer."""
STALLED_SECONDS: Final = 900.0
"""Longer than a pass may take: AWS is waited for up to two minutes for each of a few batches."""
CONFIRM_SECONDS: Final = 5.0


class LoopMonitor:
    """What the billing loop's thread does, for other threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.disk_waiting_since: float | None = None
        """Since when (monotonic) the disk has not answered."""
        self.passed_at: datetime | None = None
        """When the last pass was finished."""
        self._pass_ended = clock.monotonic()
        self._died: float | None = None
        self._seen: tuple[float, float] | None = None
        """Since when it fails, as it was first seen, and when that was."""

    # -- called by the loop's thread ---------------------------------------------------------------

    def wait(self, for_disk: bool) -> None:
        """Note that from here on the disk is waited for, or something that may take longer."""
        self.disk_waiting_since = self._clock.monotonic() if for_disk else None

    def watch(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, which waits for the disk between two passes."""
        self.wait(for_disk=True)
        try:
            return work()
        finally:
            self.wait(for_disk=False)

    def end_pass(self, now: datetime) -> None:
        """Note that a pass is finished."""
        self.wait(for_disk=False)
        self.passed_at, self._pass_ended = now, self._clock.monotonic()

    def die(self) -> None:
        """Note that the loop broke: it waits for no disk any more."""
        self.wait(for_disk=False)
        self._died = self._clock.monotonic()

    # -- called by any thread ----------------------------------------------------------------------

    @property
    def dead(self) -> bool:
        """Return whether the loop broke."""
        return self._died is not None

    @property
    def stuck(self) -> bool:
        """Return whether the disk does not answer."""
        since = self.disk_waiting_since
        return since is not None and self._clock.monotonic() - since > STUCK_SECONDS

    @property
    def stalled(self) -> bool:
        """Return whether no pass was finished for too long, whatever is waited for."""
        return self._clock.monotonic() - self._pass_ended > STALLED_SECONDS

    def failing_since(self) -> datetime | None:
        """Return since when nothing can be reported because the loop does not run; None while it runs."""
        began, now = self._began(), self._clock.monotonic()
        if began is None:
            self._seen = None
            return None
        if self._seen is None or self._seen[0] != began:
            self._seen = (began, now)
        if now - self._seen[1] < CONFIRM_SECONDS:
            return None
        return self._clock.now() - timedelta(seconds=now - began)

    def _began(self) -> float | None:
        if self._died is not None:
            return self._died
        if self.stuck:
            return self.disk_waiting_since
        return self._pass_ended if self.stalled else None
