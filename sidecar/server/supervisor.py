"""Keep one worker process running: fork it, replace it where it dies or hangs, and end it at SIGTERM.

Invariants:
- One worker at a time: a second would register the workload a second time. Signals that ask other servers for more
  workers, a reload or an upgrade are ignored.
- SIGINT and SIGQUIT mean what SIGTERM means, the first time: whichever an image's STOPSIGNAL names, usage is sent. The
  second of these two ends the worker at once; one that follows a SIGTERM is the first.
- No signal is lost: all are blocked from before the fork, and fetched one by one. The worker has them blocked until it
  listens for them.
- As PID 1 it reaps what is left to it. A worker that is no child any more, whatever became of it, is replaced.
- The worker imports everything, reads the settings and binds the ports; nothing of it is in this process, which stays
  for as long. So this module imports next to nothing, and what a rare event needs only then.
- What the first worker read and bound outlives it: it waits, unread, in a pair of sockets that this process holds
  (`supervised`). No port is closed while a worker is replaced.
- It wakes up for signals, and when a heartbeat is overdue.
- A worker that fails before any has served ends the process, with its exit code. Every other one is replaced, without
  end, also one that was told to end and this process was not: whether the container shall start again is for its probes
  to say. Where starts fail in a row, each waits twice as long. What the next worker must know is in the restart state.
  A worker watches for its supervisor's end by itself.

Sources: sigtimedwait(2), waitpid(2), signal(7).
"""

from __future__ import annotations

import os
import sys
import time

from sidecar.server.supervised import Supervised

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import ModuleType
    from typing import Final
else:
    import _signal as signal  # what `signal` takes its functions from, without enums: 0.5 MiB in this process

TIMEOUT_SECONDS: Final = 30
"""A worker whose last heartbeat is older hangs, and is replaced."""
START_SECONDS: Final = 180.0
"""A worker that has not served so long after its fork hangs too. A start takes a second; on a tenth of a core, ten."""
LOOK_SECONDS_MIN: Final = 1.0
"""Between two looks at the heartbeat; between SIGABRT and SIGKILL; between two forks."""
PAUSE_SECONDS_MAX: Final = 60.0
"""Between two forks, the longest: each start that fails after another one waits twice as long."""
DOUBLINGS_MAX: Final = 10
HURRY_SECONDS: Final = 2.0
"""What is left of the time to end after a second SIGINT or SIGQUIT."""
KILLED_SECONDS: Final = 5.0
"""For a worker that was sent SIGKILL, to be gone."""
INSISTING: Final = (signal.SIGINT, signal.SIGQUIT)
"""What a person at a terminal repeats."""
STOP_SIGNALS: Final = (signal.SIGTERM, *INSISTING)
IGNORED_SIGNALS: Final = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
)
FETCHED: Final = (*STOP_SIGNALS, *IGNORED_SIGNALS, signal.SIGCHLD)
FAILED: Final = 70
"""The exit code of a worker that raised."""
DRAIN_SECONDS: Final = 0.2
"""For the last lines of the log, where the reader of stdout is slow."""


def supervise(
    work: Callable[[Supervised], int], ended: Callable[[Supervised, int], int], start_seconds: float = START_SECONDS
) -> int:
    """Run `work` in a process of its own. Returns the exit code of this process; in the worker it does not return.

    `work`: serves until it is told to end. What it returns before any has served is why there is nothing to keep up.

    `ended`: called in this process once the last worker is gone, with the exit code of the start that failed, or 0
    where this process was told to end. It returns the exit code of the process.

    `start_seconds`: how long a start may take.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, FETCHED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # one that was inherited as ignored is never sent
    for number in STOP_SIGNALS:
        # Never called. While sigtimedwait waits, /proc shows none of them as blocked: this shows them as caught.
        signal.signal(number, _fetched)
    return Supervisor(work, ended, start_seconds).run()


def stop_pending() -> bool:
    """Return whether this process, a worker that does not listen yet, was told to end."""
    return not signal.sigpending().isdisjoint(STOP_SIGNALS)


def _fetched(_signal: int, _frame: object) -> None:
    """A signal that is fetched, not handled."""


class Supervisor:
    """The supervising process."""

    def __init__(
        self,
        work: Callable[[Supervised], int],
        ended: Callable[[Supervised, int], int],
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._work, self._ended, self._start_seconds = work, ended, start_seconds
        self._shared = Supervised()
        self._worker = 0
        self._forked_at = -PAUSE_SECONDS_MAX
        self._aborted = self._killed = False
        self._failed = 0
        """Starts in a row of which none has served."""

    def run(self) -> int:
        """Supervise until a signal ends it, or a worker does not start. Returns the exit code."""
        while True:
            if not self._worker and time.monotonic() >= self._fork_at():
                self._fork()
            number = self._fetch(self._seconds_to_look())
            if number in STOP_SIGNALS:
                self._stop(insisted=int(number in INSISTING))
                return self._ended(self._shared, 0)
            code = self._reap() if number == signal.SIGCHLD else None
            if code is not None and code > 0 and not self._shared.has_served:
                return self._ended(self._shared, code)
            self._look()

    def _fetch(self, seconds: float) -> int | None:
        found = signal.sigtimedwait(FETCHED, max(0.0, seconds))
        return found.si_signo if found else None

    def _seconds_to_look(self) -> float:
        """Return how long there is nothing to do but to wait for a signal."""
        if not self._worker:
            return self._fork_at() - time.monotonic()
        if self._aborted:
            return LOOK_SECONDS_MIN
        left = min(self._overdue_at() - time.monotonic(), TIMEOUT_SECONDS)  # a first heartbeat wakes no process up
        return max(LOOK_SECONDS_MIN, left)

    def _overdue_at(self) -> float:
        """Return from when on the worker counts as one that hangs."""
        last = self._shared.last_beat()
        return last + TIMEOUT_SECONDS if last else self._forked_at + self._start_seconds

    def _look(self) -> None:
        """Abort a worker that hangs; kill it where that does not help."""
        if not self._worker or time.monotonic() <= self._overdue_at():
            self._aborted = False
            return
        if self._aborted:
            self._kill()
            return
        self._aborted = True
        self._say(f"WORKER TIMEOUT (pid:{self._worker})")
        self._signal(signal.SIGABRT)

    # -- the worker's life

    def _fork_at(self) -> float:
        """Return when the next worker may be forked: where starts fail again and again, later and later."""
        pause = min(LOOK_SECONDS_MIN * 2.0 ** min(self._failed, DOUBLINGS_MAX), PAUSE_SECONDS_MAX)
        return self._forked_at + pause

    def _fork(self) -> None:
        self._shared.clear()
        self._forked_at, self._aborted = time.monotonic(), False
        self._killed = False
        try:
            self._worker = os.fork()
        except OSError as exc:
            self._say(f"Worker cannot be forked: {exc.strerror}")
            self._failed += 1
            return
        if self._worker:
            return
        try:
            code = self._work(self._shared)
        except Exception as exc:  # it is logged, and the end of this process
            code = FAILED
            log_crash(exc)
        sys.exit(code)

    def _reap(self) -> int | None:
        """Wait for every child that has ended. Returns the worker's exit code where it is among them, else None."""
        code = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self._worker:
                    self._gone(None)
                return code
            if pid == 0:
                return code
            if pid == self._worker:
                code = os.waitstatus_to_exitcode(status)
                self._gone(code)

    def _gone(self, code: int | None) -> None:
        """Note that there is no worker any more, and how it ended; None: others have waited for it."""
        pid, self._worker = self._worker, 0
        served = bool(self._shared.last_beat())
        self._shared.has_served |= served
        self._failed = 0 if served else self._failed + 1
        self._log_end(pid, code)

    def _stop(self, insisted: int) -> None:
        """End the worker: SIGTERM once, SIGKILL when its time is over. `insisted`: signals of a person so far."""
        until = time.monotonic() + self._shared.graceful_seconds()
        self._shared.end(until)
        self._reap()
        forked = not self._worker and self._fork_to_finish()
        self._signal(signal.SIGTERM)
        while self._worker and (left := until - time.monotonic()) > 0:
            number = self._fetch(left)
            if number == signal.SIGCHLD:
                code = self._reap()
                if code and not self._worker and not forked and insisted < 2:
                    forked = self._fork_to_finish()  # it was killed before it was told, or it broke while it finished
            elif number in INSISTING:
                insisted += 1
                if insisted == 2:
                    until = min(until, time.monotonic() + HURRY_SECONDS)
                    self._signal(signal.SIGQUIT)
        self._kill()
        until = time.monotonic() + KILLED_SECONDS
        while self._worker and (left := until - time.monotonic()) > 0:
            self._fetch(left)
            self._reap()

    def _fork_to_finish(self) -> bool:
        """Have a worker send what an earlier one has taken, where one has read its settings. Returns True."""
        if self._shared.has_settings():
            self._fork()
            self._signal(signal.SIGTERM)
        return True

    def _kill(self) -> None:
        self._killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if not self._worker:
            return
        try:
            os.kill(self._worker, number)
        except ProcessLookupError:
            self._reap()

    def _log_end(self, pid: int, code: int | None) -> None:
        if code == 0 or (code and code > 0 and not self._shared.has_served):
            return  # what a worker that did not start has to say, it has said
        if code is None:
            self._say(f"Worker (pid:{pid}) is gone!", grave=False)
        elif code == -signal.SIGKILL and self._killed:
            self._say(f"Worker (pid:{pid}) did not end in time, and was killed.")
        elif code == -signal.SIGKILL:
            self._say(f"Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?")
        elif code < 0:
            self._say(f"Worker (pid:{pid}) was sent {_name(-code)}!", grave=False)
        else:
            self._say(f"Worker (pid:{pid}) exited with code {code}.")

    def _say(self, text: str, *, grave: bool = True) -> None:
        """Log it; where that fails, write it to stderr. A text that cannot be written must not end the supervisor."""
        try:
            log = self._log()
            if grave:
                log.error("server.error", text=text)
            else:
                log.warn("server.warning", text=text)
        except Exception:  # a failed log must not end the supervisor
            try:
                os.write(2, f"{text}\n".encode())
            except OSError:
                pass

    def _log(self) -> ModuleType:
        """Return the log, which only rare events need here."""
        from sidecar import log
        from sidecar.restart_state import RestartState

        log.start(RestartState(self._shared.restart_state).log_level())
        return log


def _name(number: int) -> str:
    try:
        from signal import Signals

        return Signals(number).name
    except (ImportError, ValueError):
        return f"signal {number}"


def log_crash(exc: Exception) -> None:
    """Log what ends the worker: by class and location, and its text on stderr."""
    from sidecar import log

    trace = exc.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    log.error("server.error", text="Exception in worker process", error=type(exc).__name__, where=where)
    log.LINES.drain(DRAIN_SECONDS)
    sys.stderr.write(f"{exc}\n")
