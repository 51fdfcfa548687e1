"""Share memory between the supervisor and its workers: the heartbeat, the time to end, and what a worker hands on.

Invariants:
- Files in memory and a pair of sockets, which end with the processes that hold them. A worker that dies, whenever,
  leaves them usable: each is written in one call.
- The supervisor imports this for as long as it runs, so it imports next to nothing.

Sources: memfd_create(2), utimensat(2), unix(7).
"""

from __future__ import annotations

import _socket  # what `socket` takes its functions from
import os
import time

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    from typing import Final

GRACEFUL_SECONDS: Final = 1.0
"""Between SIGTERM and SIGKILL, until a worker has said what its settings allow: nothing has begun yet."""
ALLOWED_BYTES: Final = 20


class Supervised:
    """What supervisor and worker share. The supervisor makes it; each worker's copy has the same files."""

    def __init__(self) -> None:
        self.supervisor = os.getpid()
        self.has_served = False
        """Whether a worker before this one has."""
        self.keeps, self.kept = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        """What a worker hands on is sent to the first and waits in the second: this process reads neither."""
        self.restart_state = os.memfd_create("restart-state", os.MFD_CLOEXEC)
        """The descriptor of `restart_state.RestartState`."""
        self._allowed = os.memfd_create("graceful-seconds", os.MFD_CLOEXEC)
        self._ending = os.memfd_create("ending", os.MFD_CLOEXEC)
        """Empty while the supervisor replaces workers."""
        self._heartbeat = os.memfd_create("heartbeat", os.MFD_CLOEXEC)
        """Its time is the heartbeat. Nothing is written to it: that would set the time."""
        self.clear()

    def clear(self) -> None:
        """Forget the heartbeat: a worker that starts is not judged yet."""
        os.utime(self._heartbeat, ns=(0, 0))

    def beat(self) -> None:
        """Note that the worker serves, now. The time of a file is read and set whole."""
        now = time.monotonic_ns()
        os.utime(self._heartbeat, ns=(now, now))

    def last_beat(self) -> float:
        """Return when it last served (monotonic); 0 where it has not."""
        return os.fstat(self._heartbeat).st_mtime

    def end(self, until: float) -> None:
        """Note that the supervisor ends: no worker is replaced any more, and at `until` (monotonic) it is killed."""
        os.pwrite(self._ending, f"{until:.3f}".encode(), 0)

    def seconds_left(self) -> float | None:
        """Return in how many seconds this worker is killed, where the supervisor ends; else None."""
        until = os.pread(self._ending, ALLOWED_BYTES, 0)
        return float(until) - time.monotonic() if until else None

    def is_ending(self) -> bool:
        """Return whether no worker follows: the supervisor ends, or has ended. Asked by the worker."""
        return os.fstat(self._ending).st_size > 0 or os.getppid() != self.supervisor

    def allow(self, graceful_seconds: float) -> None:
        """Let the worker, and each that follows, have so long between SIGTERM and SIGKILL."""
        os.pwrite(self._allowed, f"{graceful_seconds:<{ALLOWED_BYTES}.3f}".encode(), 0)

    def has_settings(self) -> bool:
        """Return whether a worker has read its settings, so that there may be something to finish."""
        return os.fstat(self._allowed).st_size > 0

    def graceful_seconds(self) -> float:
        """Return what was allowed."""
        return float(os.pread(self._allowed, ALLOWED_BYTES, 0) or GRACEFUL_SECONDS)
