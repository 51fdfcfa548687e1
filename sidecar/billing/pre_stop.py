"""Time the end of a workload that is announced before SIGTERM, as by a pod's preStop hook.

A native sidecar's SIGTERM comes after the product has ended. One that ignores its own SIGTERM uses up the grace of the
whole pod, and two seconds would be left for the last usage. The hook, though, runs when the pod begins to end.

Invariants:
- The final flush begins at SIGTERM; where the end was announced and the grace is known, no later than its budget
  before the grace is over, whether the product has ended or not.
- The budget of the flush never exceeds the grace.
- Without an announcement nothing happens before SIGTERM.

Sources: Kubernetes, "Sidecar Containers" and "Container Lifecycle Hooks"; kubelet, killContainer (the hook runs before
the container waits for its turn; what is left of the grace is two seconds at least).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sidecar import log
from sidecar.settings import Settings

PRODUCT_HINT = (
    "The product still runs, and the time of the pod is nearly over: the running hour is sealed and sent now, and"
    " pushes are refused. Let the product end on SIGTERM, or give it more time (the chart's appGraceSeconds)."
)


def flush_budget_seconds(settings: Settings) -> int:
    """Return how long the final flush may take."""
    return min(settings.flush_seconds, settings.grace_seconds or settings.flush_seconds)


def _start_timer(seconds: float, run: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, run)
    timer.daemon = True
    timer.start()


class PreStop:
    """What a workload does between the announcement of its end and SIGTERM."""

    def __init__(
        self,
        settings: Settings,
        stop: Callable[[], None],
        stopping: Callable[[], bool],
        start_timer: Callable[[float, Callable[[], None]], None] = _start_timer,
    ) -> None:
        """`stop` begins the final flush; `stopping`: whether it has begun. Nothing is announced yet."""
        self._grace_seconds, self._budget_seconds = settings.grace_seconds, flush_budget_seconds(settings)
        self._stop, self._stopping, self._start_timer = stop, stopping, start_timer
        self._lock = threading.Lock()
        self.announced = False

    def announce(self) -> bool:
        """Note that the workload has begun to end. Returns False where that was known, or the final flush has begun."""
        with self._lock:
            if self.announced or self._stopping():
                return False
            self.announced = True
        seconds = None if self._grace_seconds is None else self._grace_seconds - self._budget_seconds
        log.event("shutdown.announced", grace_seconds=self._grace_seconds, flush_in_seconds=seconds)
        if seconds is not None:
            self._start_timer(seconds, self._stop_in_time)
        return True

    def _stop_in_time(self) -> None:
        if not self._stopping():
            log.warn("shutdown.forced", grace_seconds=self._grace_seconds, hint=PRODUCT_HINT)
            self._stop()
