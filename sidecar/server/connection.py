"""Hold one client's connection, and the connections of a listener by phase and age.

Invariants:
- A connection is in one phase, and a phase has one time limit: within it the oldest expires first, and expiry costs
  only what has expired.
- At the cap the oldest connection is evicted: idle ones first, then lingering, reading and writing ones. A busy one is
  never evicted: pool and deferred replies have bounds of their own.
- The bytes that a listener's clients make us hold are bounded, incomplete requests and unread responses each together;
  the oldest holder is evicted.
"""

from __future__ import annotations

import math
import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import partial
from typing import Any, Final

from sidecar.api.reply import PROBE
from sidecar.server.admission import Admission
from sidecar.server.known_heads import KnownHeads
from sidecar.server.limits import Counters, Limits
from sidecar.server.request import Judge, RequestReader


class Phase(Enum):
    """What a connection waits for."""

    READING = "reading"
    """The rest of a request, or its first byte after the accept."""
    BUSY = "busy"
    """A thread of the pool, or a deferred reply."""
    WRITING = "writing"
    """The client, to read its response."""
    IDLE = "idle"
    """The next request, if there is one."""
    LINGERING = "lingering"
    """The client's own close, after our last byte."""
    CLOSED = "closed"

    __hash__ = object.__hash__  # Enum's own is Python code, and each request asks for it twenty times


READING, BUSY, WRITING = Phase.READING, Phase.BUSY, Phase.WRITING
IDLE, LINGERING, CLOSED = Phase.IDLE, Phase.LINGERING, Phase.CLOSED
"""Module constants: the attribute look-up in `Phase.IDLE`, twenty times a request, takes a twentieth of its time."""

EVERY_ADDRESS: Final = ("0.0.0.0", "::")
EVICTION_ORDER: Final = (IDLE, LINGERING, READING, WRITING)


class Connection:
    """An accepted nonblocking socket, with what was read from it and what must still be sent."""

    __slots__ = (
        "close_after",
        "counted_bytes",
        "counted_in",
        "deadline",
        "listener",
        "outbox",
        "peer",
        "phase",
        "reader",
        "server",
        "sock",
        "watched",
    )

    def __init__(self, sock: socket.socket, peer: tuple[str, int], server: Any, listener: Listener) -> None:
        self.sock = sock
        self.peer = peer
        self.server = server
        self.listener = listener
        self.reader = RequestReader(listener.limits, listener.name, listener.judge(sock, server), listener.heads)
        self.phase = CLOSED
        self.deadline = 0.0
        self.outbox: deque[bytes | memoryview] = deque()
        self.close_after = False
        self.counted_bytes = 0
        self.counted_in = CLOSED
        self.watched = 0

    def receive(self, scratch: bytearray) -> int | None:
        """Read at most one scratch buffer. Return 0 once the client closed, None while there is nothing."""
        try:
            count = self.sock.recv_into(scratch)
        except BlockingIOError:
            return None
        self.reader.buffer += memoryview(scratch)[:count]
        return count

    def receive_nothing(self, scratch: bytearray) -> int | None:
        """Read and discard."""
        try:
            return self.sock.recv_into(scratch)
        except BlockingIOError:
            return None

    def put(self, parts: Iterable[bytes]) -> None:
        """Have these sent next. What came before was sent."""
        self.outbox.extend(filter(None, parts))

    def send(self) -> bool:
        """Write what the kernel takes. Return True when everything is sent."""
        try:
            while self.outbox:
                part = self.outbox[0]
                sent = self.sock.send(part)
                if sent < len(part):
                    self.outbox[0] = memoryview(part)[sent:]
                    return False
                self.outbox.popleft()
        except BlockingIOError:
            return False
        return True

    def held_bytes(self) -> int:
        """Return the bytes this client makes us hold, without requests in the pool."""
        outbox = self.outbox
        return len(self.reader.buffer) + (sum(map(len, outbox)) if outbox else 0)


class Listener:
    """The connections accepted under one name, in order of age within each phase."""

    def __init__(self, name: str, limits: Limits, counters: Counters, admission: Admission | None = None) -> None:
        self.name = name
        self.limits = limits
        self.heads = KnownHeads(limits)
        self._admission = admission
        self._counters = counters
        self._held_bytes = dict.fromkeys(Phase, 0)
        self._held_bytes_max = {
            READING: limits.half_read_bytes_max,
            WRITING: limits.unread_bytes_max,
        }
        self._spans = {
            READING: limits.request_seconds,
            WRITING: limits.write_seconds,
            IDLE: limits.idle_seconds,
            LINGERING: limits.linger_seconds,
        }
        self._phases: dict[Phase, dict[Connection, None]] = {phase: {} for phase in Phase if phase is not CLOSED}

    def judge(self, sock: socket.socket, server: Any) -> Judge | None:
        """Return what judges the heads of this connection. `server`: the address that its listening socket has."""
        if self._admission is None:
            return None
        if self.name == PROBE:
            return self._admission.probe_refusal
        own = sock.getsockname() if server[0] in EVERY_ADDRESS else server
        return partial(self._admission.refusal, own[0])

    def move(self, connection: Connection, phase: Phase, now: float) -> None:
        """Put a connection into a phase, as its youngest. CLOSED removes it."""
        if connection.phase is not CLOSED:
            del self._phases[connection.phase][connection]
        else:
            self._counters.open[self.name] += 1
        connection.phase = phase
        if phase is CLOSED:
            self._counters.open[self.name] -= 1
            self._held_bytes[connection.counted_in] -= connection.counted_bytes
            connection.counted_bytes = 0
            return
        connection.deadline = now + self._spans.get(phase, 0.0)
        self._phases[phase][connection] = None

    def weigh(self, connection: Connection) -> None:
        """Update the bytes counted for this connection."""
        held = connection.held_bytes()
        if held or connection.counted_bytes:
            self._held_bytes[connection.counted_in] -= connection.counted_bytes
            connection.counted_in, connection.counted_bytes = connection.phase, held
            self._held_bytes[connection.counted_in] += held

    def size(self) -> int:
        """Return the number of open connections."""
        return self._counters.open[self.name]

    def within(self, *phases: Phase) -> list[Connection]:
        """Return the connections in these phases."""
        return [connection for phase in phases for connection in self._phases[phase]]

    def expired(self, now: float) -> Iterator[Connection]:
        """Yield those past their deadline; the caller closes each before asking for the next."""
        for phase in self._spans:
            waiting = self._phases[phase]
            while waiting:
                oldest = next(iter(waiting))
                if oldest.deadline > now:
                    break
                yield oldest

    def next_deadline(self) -> float:
        """Return the first deadline (monotonic); infinity where there is none. Each phase is in order of age."""
        oldest = (next(iter(self._phases[phase]), None) for phase in self._spans)
        return min((one.deadline for one in oldest if one is not None), default=math.inf)

    def oldest(self) -> Connection | None:
        """Return the connection to evict for a new one."""
        for phase in EVICTION_ORDER:
            if self._phases[phase]:
                return next(iter(self._phases[phase]))
        return None

    def oldest_holder(self, keep: Connection) -> Connection | None:
        """Return the oldest other connection that holds bytes, while those in this one's phase hold too many."""
        phase = keep.phase
        if self._held_bytes[phase] <= self._held_bytes_max.get(phase, sys.maxsize):
            return None
        holders = (c for c in self._phases[phase] if c.counted_bytes and c is not keep)
        return next(holders, None)
