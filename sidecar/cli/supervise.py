"""Run the sidecar and the product in one container: `exec --with-sidecar`, for runtimes that have no pod.

Invariants:
- The product starts once AWS says yes, and never before.
- The sidecar ends after the product, so that it sends the last usage; its budget is `SIDECAR_FLUSH_SECONDS`.
- A sidecar that breaks is started again, with its ledger, once its last process is gone; one that was denied, or whose
  settings are wrong, ends the product. Where the product ends meanwhile, the sidecar is started all the same, to send
  what is in the ledger; one that breaks while it sends that is started once more.
- As PID 1 it forwards SIGTERM and SIGINT to the product, and reaps what its children leave behind.
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

from sidecar.cli.wait import program_of, wait
from sidecar.errors import Exit

FORWARDED: Final = (signal.SIGTERM, signal.SIGINT)
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
READY_SECONDS: Final = 10.0
"""For a sidecar that was started again to open its ledger, before it sends the last usage."""


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
        """Whether the product is being started, and the signal that came meanwhile."""
        self._pause = AGAIN_SECONDS
        self._again_at: float | None = None
        """When a sidecar that ended is started again; None: it has not ended."""
        self._start_sidecar()

    def run(self, timeout: float | None) -> int:
        """Return the product's exit code, 128 + signal where one ended it, or why it was not started."""
        for number in FORWARDED:
            signal.signal(number, self._forward)
        try:
            code = wait(timeout, None, self._sidecar_ended)
            if code == Exit.OK:
                self._opened = True
                code = self._until_product_ends(self._start_product())
            else:
                sys.stderr.write(f"{self._command[0]} was not started\n")
        except _Stopped as stopped:
            code = 128 + stopped.number
        except OSError as exc:
            sys.stderr.write(f"{self._command[0]}: {exc.strerror}\n")
            code = Exit.NOT_EXECUTABLE
        self._end_sidecar()
        return int(code)

    def _forward(self, number: int, _frame: object) -> None:
        if self._product is not None:
            os.kill(self._product.pid, number)
        elif self._starting:
            self._early = number
        else:
            raise _Stopped(number)

    def _start_product(self) -> int:
        """Start it, and return its process id. A signal that comes meanwhile reaches it."""
        self._starting = True
        self._product = subprocess.Popen(self._command, executable=self._program)
        if self._early:
            os.kill(self._product.pid, self._early)
        return self._product.pid

    def _start_sidecar(self) -> None:
        self._started, self._again_at = time.monotonic(), None
        self._opened = False  # whether this one's gate was seen to be open
        self._sidecar = subprocess.Popen([sys.executable, "-I", "-m", "sidecar", "run"], start_new_session=True)

    def _sidecar_ended(self) -> int | None:
        """Return the exit code of a sidecar that ended before its gate opened; start it again where that may help."""
        code = self._sidecar.poll()
        if code is None or code in FOR_GOOD:
            return code
        if self._again_at is None:
            self._start_later(code)
        self._start_if_due()
        return None

    def _start_later(self, code: int) -> None:
        if time.monotonic() - self._started >= STEADY_SECONDS:
            self._pause = AGAIN_SECONDS
        sys.stderr.write(f"the sidecar ended with {code}; it is started again in {self._pause:g} s\n")
        sys.stderr.flush()
        self._again_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, AGAIN_SECONDS_MAX)

    def _start_if_due(self) -> None:
        if self._again_at is not None and time.monotonic() >= self._again_at:
            self._start_again()

    def _start_again(self) -> None:
        """Start the sidecar in place of one that broke, once nothing of that is left: its worker may have outlived it,
        and would keep the ports and the ledger."""
        deadline = time.monotonic() + GONE_SECONDS
        with contextlib.suppress(ProcessLookupError):  # the group is gone
            while time.monotonic() < deadline:
                os.killpg(self._sidecar.pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):  # no child of this process: another reaps it
                    os.waitpid(-self._sidecar.pid, os.WNOHANG)
                time.sleep(GONE_LOOK_SECONDS)
        self._start_sidecar()

    def _next_ended(self) -> tuple[int, int]:
        """Wait until a child ends. Returns its id and status."""
        while self._again_at is not None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                return pid, status
            time.sleep(LOOK_SECONDS)
            self._start_if_due()
        return os.waitpid(-1, 0)

    def _until_product_ends(self, product: int) -> int:
        """Reap children until the product ends. Returns its code; the sidecar's where that ended it."""
        ended_by: int | None = None
        while True:
            pid, status = self._next_ended()
            code = os.waitstatus_to_exitcode(status)
            if pid == product:
                return ended_by if ended_by is not None else 128 - code if code < 0 else code
            if pid != self._sidecar.pid:
                continue  # left behind by a child that ended: PID 1 reaps it
            self._sidecar.returncode = code
            if code not in FOR_GOOD:
                self._start_later(code)
                continue
            sys.stderr.write(f"the sidecar ended with {code}; the product is stopped\n")
            sys.stderr.flush()
            ended_by = code
            os.kill(product, signal.SIGTERM)

    def _end_sidecar(self) -> None:
        """Let the sidecar send the last usage, and wait for it. One that broke, or breaks now, is started again."""
        for number in FORWARDED:
            signal.signal(number, signal.SIG_IGN)
        self._stop_sidecar()
        if self._product is not None and self._broke():
            self._start_again()
            self._stop_sidecar()

    def _broke(self) -> bool:
        """Return whether the sidecar ended in a way that another start may mend: usage may be left in its ledger."""
        code = self._sidecar.poll()
        return code is not None and code != Exit.OK and code not in FOR_GOOD

    def _stop_sidecar(self) -> None:
        """Wait until it is ready, since SIGTERM before its ledger is open would lose usage; then end it."""
        if self._product is not None and not self._opened:
            wait(READY_SECONDS, None, self._sidecar.poll)
        if self._sidecar.poll() is None:
            self._sidecar.terminate()
            self._sidecar.wait()


def supervise(timeout: float | None, command: Sequence[str]) -> int:
    """Run sidecar and product until the product ends. Returns the exit code."""
    program = program_of(command)
    return program if isinstance(program, Exit) else Supervisor(program, command).run(timeout)
