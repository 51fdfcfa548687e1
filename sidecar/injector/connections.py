"""Bound how many connections are open: one too many closes the one that was heard of longest ago.

Invariants:
- A new connection is never refused: clients that open many and send nothing keep no other client out.
- A connection counts as heard of when it is opened, and at each request.
"""

from __future__ import annotations

import contextlib
import socket
import threading


class Connections:
    """The connections that are open, the one that was heard of longest ago first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}

    def heard(self, one: socket.socket) -> None:
        """Note that it was heard of just now; it need not be known."""
        with self._lock:
            self._open.pop(one, None)
            self._open[one] = None
            surplus = next(iter(self._open)) if len(self._open) > self._most else None
            if surplus is not None:
                del self._open[surplus]
        if surplus is not None:
            _end(surplus)

    def ended(self, one: socket.socket) -> None:
        """Forget it."""
        with self._lock:
            self._open.pop(one, None)


def _end(one: socket.socket) -> None:
    """End it for the thread that waits for it, which closes it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(one, socket.SHUT_RDWR)  # that of TLS is for its own thread alone
