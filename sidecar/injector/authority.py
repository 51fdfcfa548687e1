"""Decide which authorities the API server is told to trust, and which one signs now.

Invariants:
- An authority signs only after it was published for a settling time: an API server that has not heard of it yet still
  trusts the one before.
- It stays published for a settling time after its successor began to sign: an injector that has not heard of the
  successor yet is still trusted.
- One that has expired neither signs nor is published. Where none is left, a new one signs at once: nothing is trusted
  that could be waited for.
- One that begins in the future counts as none: where the clock of one injector is ahead, the others keep what they
  have, and do not wait until the clocks agree.
- A new one is made before the last one ends, also where that was made with other times than are set now.
- Injectors decide alike: all of it follows from the list that they share, and the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.quick_dataclasses import asdict, dataclass

LIVES: Final = 3
"""An authority is valid for so many times what it is used for, so that an injector that stood still goes on."""
SKEW: Final = timedelta(hours=1)
"""So much may two clocks of a cluster differ."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long an authority is used, and how long a change settles."""

    rotate: timedelta
    settle: timedelta

    @property
    def life(self) -> timedelta:
        return self.rotate * LIVES + self.settle * LIVES

    def replaces(self, one: Authority) -> datetime:
        """Return when another authority is made."""
        return min(one.made_at + self.rotate, one.until - self.settle * LIVES)


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate that signs others, with its key; both PEM. `key` is a secret."""

    certificate: str
    key: str
    made_at: datetime
    until: datetime

    def __repr__(self) -> str:
        return f"Authority(made_at={self.made_at.isoformat()})"


Make = Callable[[datetime, datetime], Authority]
"""Makes an authority that is valid between the two."""


def renewed(known: Sequence[Authority], now: datetime, times: Times, make: Make) -> tuple[Authority, ...]:
    """Return the authorities to publish, oldest first; the last is new where it was due."""
    alive = [one for one in known if one.made_at <= now + SKEW and one.until > now]
    if not alive or times.replaces(alive[-1]) <= now:
        alive.append(make(now, now + times.life))
    return tuple(one for at, one in enumerate(alive) if not _replaced(alive[at + 1 :], now, times))


def _replaced(later: Sequence[Authority], now: datetime, times: Times) -> bool:
    return any(one.made_at + 2 * times.settle <= now for one in later)


def signing(published: Sequence[Authority], now: datetime, times: Times) -> Authority:
    """Return the newest that has settled, else the oldest."""
    settled = [one for one in published if one.made_at + times.settle <= now]
    return settled[-1] if settled else published[0]


def bundle(published: Sequence[Authority]) -> str:
    """Return the certificates that the API server is told to trust, as PEM."""
    return "".join(one.certificate for one in published)


def written(published: Sequence[Authority]) -> bytes:
    """Return the authorities as they are kept."""
    return json.dumps([asdict(one) for one in published], default=datetime.isoformat).encode()


def read(text: bytes) -> tuple[Authority, ...]:
    """Return the authorities that were kept; what is no list of them counts as none."""
    try:
        return tuple(
            Authority(
                certificate=str(one["certificate"]),
                key=str(one["key"]),
                made_at=datetime.fromisoformat(one["made_at"]).astimezone(UTC),
                until=datetime.fromisoformat(one["until"]).astimezone(UTC),
            )
            for one in json.loads(text)
        )
    except (ValueError, LookupError, TypeError, OverflowError):
        return ()
