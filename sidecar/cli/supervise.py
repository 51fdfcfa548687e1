"""Run the sidecar and the product in one container: `exec --with-sidecar`, for runtimes that have no pod.

Invariants:
- The product starts once AWS says yes, and never before.
- The sidecar ends after the product, so that it sends the last usage; its budget is `SIDECAR_FLUSH_SECONDS`.
- A sidecar that breaks is started again, with its ledger, once its last process is gone; one that was denied, or whose
  settings are wrong, ends the product. Where the product ends meanwhile, or the sidecar breaks while it sends the last
  usage, it is started all the same, LAST_STARTS times at most, to send what is in the ledger.
- As PID 1 it forwards signals to the product, and reaps what its children leave behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from sidecar.cli.wait import program_of, say, wait
from sidecar.errors import Exit

FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""An image's STOPSIGNAL may be any of them."""
FOR_GOOD: Final = frozenset([Exit.DENIED, Exit.CONFIG])
"""Exit codes of a sidecar that would end the same way again."""
AGAIN_SECONDS: Final = 1.0
AGAIN_SECONDS_MAX: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""A sidecar that ran so long is started again at once."""
LOOK_SECONDS: Final = 0.05
"""How often the end of the product is looked for while a sidecar waits to be started again."""
GONE_SECONDS: Final = 10.0
"""For the processes of a sidecar that broke to be gone, once they are killed: one may hang in its volume."""
GONE_LOOK_SECONDS: Final = 0.005
READY_SECONDS: Final = 30.0
"""For a sidecar that was started again to open its ledger and be answered by AWS, which may hang once, before it is
told to send the last usage."""
LAST_STARTS: Final = 2
"""Of a sidecar that broke, after the product has ended."""


class _Stopped(Exception):
    """A signal to end came while no product ran."""

    def __init__(self, number: int) -> None:
        self.number = number


class Supervisor:
    """Two children: the sidecar and, once it is entitled, the product."""

    def __init__(self, program: str, command: Sequence[str]) -> None:
        """Supervise `command`, whose program was found at `program`."""
        self._program, self._command = program, list(command)
        self._product: subprocess.Popen[bytes] | None = None
        self._starting, self._early = False, 0
        """Whether a process is being started, and the signal that came meanwhile."""
        self._stopped = False
        """A signal to end came while no product ran."""
        self._pause = AGAIN_SECONDS
        self._again_at: float | None = None
        """When a sidecar that broke is started again; None: it runs."""

    def run(self, timeout: float | None) -> int:
        """Return the product's exit code, 128 + signal where one ended it, or why it was not started."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it was inherited as ignored, children leave no exit code
        for number in FORWARDED:
            signal.signal(number, self._forward)
        try:
            self._start_sidecar()
        except OSError as exc:
            say(f"the sidecar cannot be started: {exc.strerror}; {self._command[0]} was not started")
            return Exit.SOFTWARE
        except _Stopped as stopped:
            code = 128 + stopped.number
        else:
            code = self._run_product(timeout)
        self._end_sidecar()
        return int(code)

    def _run_product(self, timeout: float | None) -> int:
        """Start the product once AWS says yes, and wait for its end."""
        try:
            code = wait(timeout, None, self._sidecar_ended)
            if code != Exit.OK:
                say(f"{self._command[0]} was not started")
                return code
            self._opened = True
            product = self._start_product()
        except _Stopped as stopped:
            return 128 + stopped.number
        except OSError as exc:
            say(f"{self._command[0]}: {exc.strerror}")
            return Exit.NOT_EXECUTABLE
        return self._until_product_ends(product)

    def _forward(self, number: int, _frame: object) -> None:
        if self._product is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self._product.pid, number)
        elif self._starting:
            self._early = number
        elif not self._stopped:
            self._stopped = True
            raise _Stopped(number)

    def _start_product(self) -> int:
        """Start it, and return its process id. A signal that comes meanwhile reaches it. Raises OSError."""
        self._starting = True
        self._product = subprocess.Popen(self._command, executable=self._program)
        if self._early:
            os.kill(self._product.pid, self._early)
        return self._product.pid

    def _start_sidecar(self) -> None:
        """Raises OSError; and _Stopped, once it runs, where a signal came meanwhile."""
        self._starting = True
        try:
            self._sidecar = subprocess.Popen([sys.executable, "-I", "-m", "sidecar", "run"], start_new_session=True)
        finally:
            self._starting = False
        self._started, self._again_at = time.monotonic(), None
        self._opened = False  # whether this one's gate was seen to be open
        if self._early and self._product is None and not self._stopped:
            self._stopped = True
            raise _Stopped(self._early)

    def _sidecar_ended(self) -> int | None:
        """Return the exit code of a sidecar that ended before its gate opened; start it again where that may help."""
        code = self._sidecar_code()
        if code is None or code in FOR_GOOD:
            return code
        if self._again_at is None:
            self._start_later(code)
        self._start_if_due()
        return None

    def _start_later(self, code: int) -> None:
        if time.monotonic() - self._started >= STEADY_SECONDS:
            self._pause = AGAIN_SECONDS
        say(f"the sidecar {_ended(code)}; it is started again in {self._pause:g} s")
        self._again_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, AGAIN_SECONDS_MAX)

    def _start_if_due(self) -> None:
        if self._again_at is not None and time.monotonic() >= self._again_at:
            self._start_again()

    def _start_again(self) -> None:
        """Start the sidecar in place of one that broke, once the last of its processes, which were killed, is gone."""
        deadline = time.monotonic() + GONE_SECONDS
        with contextlib.suppress(OSError):  # there is no such group any more
            while time.monotonic() < deadline:
                os.killpg(self._sidecar.pid, 0)
                with contextlib.suppress(ChildProcessError):  # no child of this process: another reaps it
                    os.waitpid(-self._sidecar.pid, os.WNOHANG)
                time.sleep(GONE_LOOK_SECONDS)
        try:
            self._start_sidecar()
        except OSError as exc:
            say(f"the sidecar cannot be started: {exc.strerror}; it is tried again in {self._pause:g} s")
            self._again_at = time.monotonic() + self._pause

    def _sidecar_code(self, *, wait: bool = False) -> int | None:
        """Return the sidecar's exit code; None while it runs.

        A worker may have outlived it, and would keep the ports and the ledger: it is killed while the number of their
        group cannot be another's.
        """
        options = os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)
        if self._sidecar.returncode is None and os.waitid(os.P_PID, self._sidecar.pid, options):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._sidecar.pid, signal.SIGKILL)
            self._sidecar.wait()
        return self._sidecar.returncode

    def _next_ended(self) -> int:
        """Wait until a child ends. Returns its id; it is not reaped yet."""
        while self._again_at is not None:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended:
                return ended.si_pid
            time.sleep(LOOK_SECONDS)
            self._start_if_due()
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        return ended.si_pid

    def _until_product_ends(self, product: int) -> int:
        """Reap children until the product ends. Returns its code; the sidecar's where that ended it."""
        ended_by: int | None = None
        while True:
            pid = self._next_ended()
            if (
                pid != self._sidecar.pid or self._sidecar.returncode is not None
            ):  # the product, or one left behind by a child that ended: PID 1 reaps it
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if pid == product:
                    return ended_by if ended_by is not None else 128 - code if code < 0 else code
                continue
            found = self._sidecar_code(wait=True)
            assert found is not None
            if found not in FOR_GOOD:
                self._start_later(found)
                continue
            say(f"the sidecar {_ended(found)}; the product is stopped")
            ended_by = found
            os.kill(product, signal.SIGTERM)

    def _end_sidecar(self) -> None:
        """Let the sidecar send the last usage, and wait for it. One that broke, or breaks now, is started again."""
        for number in FORWARDED:
            signal.signal(number, _ignore)
        self._stop_sidecar()
        for _ in range(LAST_STARTS):
            if not self._broke():
                return
            say(f"the sidecar {_ended(self._sidecar.returncode)}; it is started again, to send the last usage")
            self._start_again()
            self._stop_sidecar()
        if self._broke():
            say(f"the sidecar {_ended(self._sidecar.returncode)}; what it has not sent is in its ledger")

    def _broke(self) -> bool:
        """Return whether the sidecar ended so that usage of the product may be left, and another start may send it."""
        code = self._sidecar_code()
        return self._product is not None and code is not None and code != Exit.OK and code not in FOR_GOOD

    def _stop_sidecar(self) -> None:
        """Wait until it is ready, since SIGTERM before its ledger is open would lose usage; then end it."""
        if self._product is not None and not self._opened:
            wait(READY_SECONDS, None, self._sidecar_code)
        if self._sidecar_code() is None:
            os.kill(self._sidecar.pid, signal.SIGTERM)
            self._sidecar_code(wait=True)


def _ignore(_signal: int, _frame: object) -> None:
    """Do nothing. A child does not inherit this, as it would SIG_IGN."""


def _ended(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"ended with {code}"
    return f"was killed by {next((one.name for one in signal.Signals if one == -code), f'signal {-code}')}"


def supervise(timeout: float | None, command: Sequence[str]) -> int:
    """Run sidecar and product until the product ends. Returns the exit code."""
    program = program_of(command)
    return program if isinstance(program, Exit) else Supervisor(program, command).run(timeout)
