"""Define how much any client may take from the worker, and count how often a limit was reached.

Invariants:
- Every number a client can push against is in `Limits`, with its unit in its name.
- A probe needs no body, so the probe listener takes far less of one than the API does, little enough that no probe is
  ever left to the pool.
- `Counters` are plain integers in dictionaries whose keys never change, so any thread may read them while the poller
  counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidecar.api.reply import PROBE
from sidecar.quick_dataclasses import dataclass, field

REFUSAL_STATUSES: Final = (400, 401, 403, 413, 414, 415, 417, 421, 431, 501, 503)
"""Every status with which the worker itself refuses a request."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one listener, one connection and the thread pool may hold, and for how long."""

    connections_max: int = 256
    """Per listener. At the cap the oldest is evicted."""
    half_read_bytes_max: int = 3 * 1024 * 1024
    """Per listener: requests that are not whole yet, together. Beyond it the oldest is evicted."""
    unread_bytes_max: int = 1024 * 1024
    """Per listener: responses not read yet, together. Beyond it the oldest is evicted; the newest always stays."""
    socket_buffer_bytes: int = 64 * 1024
    """Kernel buffer each way: what a client that does not read holds outside our own memory."""

    head_bytes_max: int = 16 * 1024
    request_line_bytes_max: int = 4094
    header_fields_max: int = 64
    header_field_bytes_max: int = 8190
    api_body_bytes_max: int = 1024 * 1024
    """As sent: the framing and trailer of a chunked body count."""
    probe_body_bytes_max: int = 4 * 1024
    quick_body_bytes_max: int = 4 * 1024
    """A nonblocking request of the API with a longer body goes to a thread: decoding it is work too."""
    chunks_max: int = 512
    """Chunks of a body. Each costs the poller a step, however small it is."""
    quick_chunks_max: int = 16
    """Decoding costs far more than a step: a probe has no more; an API request with more goes to a thread."""
    response_bytes_max: int = 16 * 1024 * 1024

    request_seconds: float = 10.0
    """From the accept, or from the first byte on a kept connection, until the request is whole."""
    idle_seconds: float = 75.0
    write_seconds: float = 10.0
    linger_seconds: float = 2.0
    """How long we keep reading after our own close, so that no reset destroys the response."""
    finish_seconds: float = 2.0
    """At the very end: for requests in the pool and responses being written."""

    pool_threads: int = 4
    pool_queue_max: int = 16
    """Whole requests waiting for a thread of the pool, and as many for the one that reads long bodies. Beyond it the
    response is 503.
    """
    deferred_max: int = 192
    """Requests whose reply is deferred. Beyond it the response is 503. With the pool's fewer than `connections_max`:
    busy connections are never evicted, and there must be room beside them.
    """
    deferred_bytes_max: int = 4 * 1024 * 1024
    """Bodies of those requests together: the ledger holds what was in them until it replies."""

    def body_bytes_max(self, listener: str) -> int:
        """Return the longest body this listener reads, in bytes."""
        return self.probe_body_bytes_max if listener == PROBE else self.api_body_bytes_max

    def body_chunks_max(self, listener: str) -> int:
        """Return the most chunks of a body this listener reads."""
        return self.quick_chunks_max if listener == PROBE else self.chunks_max


@dataclass(kw_only=True)
class Counters:
    """What happened to clients since the worker started. Only the poller writes."""

    open: dict[str, int] = field(default_factory=dict)
    """Connections open now, by listener."""
    refused: dict[tuple[str, int], int] = field(default_factory=dict)
    """Requests that the worker itself refused, by listener and status."""
    evicted: int = 0
    """Connections closed to make room for a newer one."""
    timed_out: int = 0
    """Connections closed before their request was whole or their response read."""
    queue_full: int = 0
    """Requests answered 503 because too many waited for a thread, or too many replies were owed."""
    failed: int = 0
    """Requests whose route raised, answered 500."""
    unexpected: int = 0
    """Connections dropped because the worker itself failed: a bug of ours."""

    @classmethod
    def of(cls, listeners: Iterable[str]) -> Counters:
        """Return zeroes for these listeners."""
        names = tuple(dict.fromkeys(listeners))
        return cls(
            open=dict.fromkeys(names, 0),
            refused=dict.fromkeys(((name, status) for name in names for status in REFUSAL_STATUSES), 0),
        )
