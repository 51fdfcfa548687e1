"""Let any thread give replies to a poller that sleeps until there are some.

Invariants:
- Giving a reply never blocks and never raises, and wakes the poller once for all that come together.
- A promise is resolved once: a second reply is dropped.
- Promises are bounded, in number and in the bytes of their requests, those of clients that have gone included: the
  handler that owes the reply holds the request. A single request may be of any size.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Promise(Generic[Key, Value]):
    """One reply that is owed. Call it with the reply."""

    __slots__ = ("_deferred", "key", "resolved", "size")

    def __init__(self, deferred: Deferred[Key, Value], key: Key, size: int) -> None:
        self._deferred = deferred
        self.key = key
        self.size = size
        self.resolved = False
        """Set by the poller, so that threads need not agree on who was first."""

    def __call__(self, value: Value) -> None:
        self._deferred.resolve(self, value)

    def drop(self) -> None:
        """Withdraw the promise. Belongs to the poller's thread."""
        self._deferred.drop(self)


class Deferred(Generic[Key, Value]):
    """The replies that are owed and those that are ready. All but `resolve` belongs to the poller's thread."""

    def __init__(self, in_hand_max: int, bytes_max: int) -> None:
        self._in_hand_max, self._bytes_max = in_hand_max, bytes_max
        self._in_hand = self._bytes = 0
        self._given: deque[tuple[Promise[Key, Value], Value]] = deque()
        self._woken = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor that is readable when a reply is ready."""
        return self._wake

    def promise(self, key: Key, size: int) -> Promise[Key, Value] | None:
        """Return a promise for this key and a request of `size` bytes, or None: too much is owed."""
        full = self._in_hand >= self._in_hand_max or self._bytes + size > self._bytes_max
        if self._in_hand and full:
            return None
        self._in_hand += 1
        self._bytes += size
        return Promise(self, key, size)

    def resolve(self, promise: Promise[Key, Value], value: Value) -> None:
        """Queue the reply, on any thread; then wake the poller unless it is awake: it clears before it looks."""
        self._given.append((promise, value))
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    def clear_wakeup(self) -> None:
        """Clear the wake-up: the poller will look at everything that is ready so far."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        self._woken = False

    def waiting(self) -> int:
        """Return how many replies are ready."""
        return len(self._given)

    def next_resolved(self) -> tuple[Key, Value] | None:
        """Return the oldest reply that is ready, or None."""
        while self._given:
            promise, value = self._given.popleft()
            if not promise.resolved:
                self.drop(promise)
                return promise.key, value
        return None

    def drop(self, promise: Promise[Key, Value]) -> None:
        """Count this promise as resolved."""
        promise.resolved = True
        self._in_hand -= 1
        self._bytes -= promise.size
