"""Answers that are given later, from any thread, to one that sleeps until there are some.

Rules kept here:

- giving an answer never blocks and never raises, and wakes the sleeper once for all that come together;
- a promise is kept once: what is given a second time is dropped;
- promises in hand are bounded, in number and in the bytes asked with, those of clients that have gone
  included: whoever owes the answers holds the requests. One may be as long as it likes.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Promise(Generic[Key, Value]):
    """One answer that is owed. Call it with the answer."""

    __slots__ = ("_deferred", "key", "resolved", "size")

    def __init__(self, deferred: Deferred[Key, Value], key: Key, size: int) -> None:
        self._deferred = deferred
        self.key = key
        self.size = size
        self.resolved = False
        """Set where answers are taken, so that threads need not agree on who was first."""

    def __call__(self, value: Value) -> None:
        self._deferred.resolve(self, value)

    def drop(self) -> None:
        """Nothing is owed after all. The poller's."""
        self._deferred.drop(self)


class Deferred(Generic[Key, Value]):
    """What was promised and what has been given. All but `give` belongs to one thread, the poller's."""

    def __init__(self, in_hand_max: int, bytes_max: int) -> None:
        self._in_hand_max, self._bytes_max = in_hand_max, bytes_max
        self._in_hand = self._bytes = 0
        self._given: deque[tuple[Promise[Key, Value], Value]] = deque()
        self._woken = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Readable when something was given."""
        return self._wake

    def promise(self, key: Key, size: int) -> Promise[Key, Value] | None:
        """Owe an answer for this key, asked with so many bytes, or None: too much is owed."""
        full = self._in_hand >= self._in_hand_max or self._bytes + size > self._bytes_max
        if self._in_hand and full:
            return None
        self._in_hand += 1
        self._bytes += size
        return Promise(self, key, size)

    def resolve(self, promise: Promise[Key, Value], value: Value) -> None:
        """On any thread. Queued first, then looked whether the poller was woken: it rests before it looks."""
        self._given.append((promise, value))
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    def clear_wakeup(self) -> None:
        """The poller is awake, and will look at everything given so far."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        self._woken = False

    def waiting(self) -> bool:
        """Whether something given has not been taken yet."""
        return bool(self._given)

    def next_resolved(self) -> tuple[Key, Value] | None:
        """The oldest answer given, or None."""
        while self._given:
            promise, value = self._given.popleft()
            if not promise.resolved:
                self.drop(promise)
                return promise.key, value
        return None

    def drop(self, promise: Promise[Key, Value]) -> None:
        """Count this one as kept."""
        promise.resolved = True
        self._in_hand -= 1
        self._bytes -= promise.size
