"""Decide what becomes of one call to AWS: outages, throttling, answers that are lost, late or given twice.

Invariants:
- A fate is drawn from the chance of the step, once for each call.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import Enum


class Fate(Enum):
    """What becomes of a call."""

    ANSWERED = "answered"
    UNREACHABLE = "unreachable"
    """No connection: AWS certainly has nothing."""
    NO_CREDENTIALS = "no_credentials"
    """STS refuses before the call."""
    EXPIRED = "expired"
    THROTTLED = "throttled"
    LOST_BEFORE = "lost_before"
    """A timeout, and AWS never saw the request."""
    LOST_AFTER = "lost_after"
    """A timeout, and AWS took it."""
    LATE = "late"
    """A timeout, and the request arrives later."""
    TWICE = "twice"
    """The network delivers it twice."""
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    """An internal error of AWS, before or after it took the request."""
    NO_RECORD_ID = "no_record_id"
    CHILD_DIED = "child_died"
    """The child was killed after the request was sent."""


UNCERTAIN = frozenset(
    (
        Fate.LOST_BEFORE,
        Fate.LOST_AFTER,
        Fate.LATE,
        Fate.ERROR_BEFORE,
        Fate.ERROR_AFTER,
        Fate.NO_RECORD_ID,
        Fate.CHILD_DIED,
    )
)
"""After these nobody but AWS knows whether it took the record."""
TROUBLE = tuple(fate for fate in Fate if fate is not Fate.ANSWERED)
WEATHERS: Mapping[str, Mapping[Fate, float]] = {
    "clear": {Fate.ANSWERED: 1.0},
    "outage": {Fate.UNREACHABLE: 0.7, Fate.LOST_BEFORE: 0.3},
    "throttling": {Fate.THROTTLED: 0.8, Fate.ANSWERED: 0.2},
    "losing": {Fate.LOST_AFTER: 0.6, Fate.ERROR_AFTER: 0.2, Fate.NO_RECORD_ID: 0.2},
    "slow": {Fate.LATE: 0.6, Fate.ANSWERED: 0.4},
    "flaky": {Fate.ANSWERED: 0.4, **dict.fromkeys(TROUBLE, 0.6 / len(TROUBLE))},
    "repeating": {Fate.TWICE: 1.0},
    "credentials": {Fate.NO_CREDENTIALS: 0.5, Fate.EXPIRED: 0.4, Fate.ANSWERED: 0.1},
}
"""Name → how likely each fate is."""


def fate(weather: str, chance: random.Random) -> Fate:
    """Return what becomes of one call."""
    fates = WEATHERS[weather]
    return chance.choices(list(fates), list(fates.values()))[0]
