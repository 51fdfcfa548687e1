"""Note that a check is open, so that a worker that dies of it is not followed by one that asks at once.

Invariants:
- It is noted before the child starts: whatever ends the worker, the next one knows that AWS was asked.
- Checks that end with their worker are as far apart as those that fail, without jitter down to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.entitlement import retry
from sidecar.entitlement.answer import AnswerClass
from sidecar.restart_state import RestartState

ASKING_SINCE: Final = "asking_since"
"""When this process asked first, by the monotonic clock: each worker has the same start-up budget."""
ASKED_AT: Final = "asked_at"
"""When the open check began."""
OPEN: Final = "open_checks"
"""Checks in a row without a result."""
ANSWERED: Final[Mapping[str, Any]] = {OPEN: 0}
"""What a result makes of it."""


def has_asked(restart_state: RestartState) -> bool:
    """Return whether any worker of this process has asked."""
    return ASKING_SINCE in restart_state.read()


def begin(restart_state: RestartState, asking_since: float, now: float) -> None:
    """Note that a check begins. `now`: by the monotonic clock, as the other."""
    opened = int(restart_state.read().get(OPEN, 0)) + 1
    restart_state.update(**{ASKING_SINCE: asking_since, ASKED_AT: now, OPEN: opened})


def begin_first(restart_state: RestartState, now: float) -> bool:
    """Note that the first check of this process begins. Returns False where an earlier worker has asked."""
    if has_asked(restart_state):
        return False
    begin(restart_state, now, now)
    return True


def schedule(saved: Mapping[str, Any], chance: float) -> tuple[float, float | None]:
    """Return since when this process asks, and when AWS is asked next; None: not by itself.

    `saved`: the restart state of a process that has asked; `chance` is in [0, 1).
    """
    asking_since, opened = float(saved[ASKING_SINCE]), int(saved.get(OPEN, 0))
    planned: float | None = saved.get("next_ask_at", asking_since)
    if planned is None or not opened:
        return asking_since, planned
    delay = retry.retry_delay_seconds(AnswerClass.RETRY, opened - 1, (1 + chance) / 2, 0, None)
    assert delay is not None  # a transient failure is retried without end
    return asking_since, max(planned, float(saved[ASKED_AT]) + delay)
