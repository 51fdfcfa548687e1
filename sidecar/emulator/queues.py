"""Keep messages in queues, as Amazon SQS does: received for a while, and gone once they are deleted.

Elsewhere: the protocol (`sqs`), what marketplace notices say (`notices`).

Invariants:
- A received message is invisible for a time, and is received again unless it is deleted: at least once.
- Waiting and invisibility are in real time, as its receivers count. Waiting ends when the queues close.
- One queue is there from the start; another one is made by the first message sent to it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sidecar.clock import Clock

DEFAULT_QUEUE: Final = "marketplace"
MESSAGES_MAX: Final = 10_000
"""Kept in a queue; the oldest goes first."""


@dataclass(kw_only=True)
class Message:
    """One message, and how often it was received."""

    id: str
    body: str
    sent_at: datetime
    visible_at: float
    """By the monotonic clock."""
    receives: int = 0
    receipts: set[str] = field(default_factory=set)
    receipt: str = ""
    """Of the last time it was received."""


class Queues:
    """Queues by their names. Safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        """`clock` is the real one."""
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: dict[str, list[Message]] = {DEFAULT_QUEUE: []}
        self._closed = False

    def has(self, name: str) -> bool:
        """Return whether there is such a queue."""
        with self._changed:
            return name in self._queues

    def send(self, body: str, name: str = DEFAULT_QUEUE, *, delay_seconds: float = 0.0) -> str:
        """Put a message into a queue, which may be new, and return its id."""
        made = Message(
            id=str(uuid.uuid4()),
            body=body,
            sent_at=self._clock.now(),
            visible_at=self._clock.monotonic() + delay_seconds,
        )
        with self._changed:
            queue = self._queues.setdefault(name, [])
            queue.append(made)
            del queue[:-MESSAGES_MAX]
            self._changed.notify_all()
        return made.id

    def receive(self, name: str, *, most: int, wait_seconds: float, invisible_seconds: float) -> list[Message]:
        """Return up to `most` messages, once there is one or the wait is over. The queue must be there."""
        until = self._clock.monotonic() + wait_seconds
        with self._changed:
            while True:
                now = self._clock.monotonic()
                found = [each for each in self._queues[name] if each.visible_at <= now][:most]
                if found or now >= until or self._closed:
                    return [self._taken(each, now + invisible_seconds) for each in found]
                ahead = [each.visible_at for each in self._queues[name]]
                self._changed.wait(max(min([until, *ahead]) - now, 0.001))

    def delete(self, name: str, receipt: str) -> bool:
        """Delete the message that was received under this receipt; return whether it ever was."""
        with self._changed:
            queue = self._queues[name]
            found = next((each for each in queue if receipt in each.receipts), None)
            if found is not None:
                queue.remove(found)
            return found is not None

    def waiting(self, name: str = DEFAULT_QUEUE) -> Sequence[str]:
        """Return the bodies of the messages that are not deleted, oldest first."""
        with self._changed:
            return [each.body for each in self._queues.get(name, [])]

    def counts(self) -> dict[str, int]:
        """Return how many messages each queue holds."""
        with self._changed:
            return {name: len(queue) for name, queue in self._queues.items()}

    def close(self) -> None:
        """End every wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _taken(self, message: Message, visible_at: float) -> Message:
        message.receives += 1
        message.visible_at = visible_at
        message.receipt = uuid.uuid4().hex
        message.receipts.add(message.receipt)
        return message
