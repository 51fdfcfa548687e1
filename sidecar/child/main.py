"""Run one job in the child process and write what comes of it, a line of JSON each.

Invariants:
- The job is imported by its name from a closed table: the child knows every job, and no job knows the child.
- Nothing a library prints lands in the log or between the lines.
- A child ends with who reads its lines: a worker that is killed leaves none behind that asks AWS beside the next one's.
- A child that crashes writes exception class and location, never the exception's text: the SDK quotes replies in its
  messages, and a reply holds a token.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import FunctionType
from typing import Final

from sidecar.child import late_imports

JOBS: Final[Mapping[str, str]] = {
    "check": "sidecar.gate.job",
    "proof": "sidecar.gate.proof_job",
    "license": "sidecar.gate.license_job",
    "submit": "sidecar.billing.job",
    "report": "sidecar.pod_status.job",
    "count": "sidecar.sources.kubernetes_job",
}
"""Job name → module with `run(payload, emit)`."""

ROOM: Final = 16 * 1024
"""Slots of 8 bytes; only those that are used take memory."""


def main() -> None:
    """Serve as the spawned child: the request on stdin, lines on stdout."""
    text = sys.stdin.read()
    out = os.dup(1)
    end_with_reader(out)
    serve(lambda: text, out)
    os._exit(0)


def await_request(job: str, waits: int, request: int) -> str:
    """Import what `job` needs; return the request, once the pipe `waits` says that it is in the file `request`."""
    import_module(JOBS[job])
    if not os.read(waits, 1):
        os._exit(0)  # there will be none
    return os.pread(request, os.fstat(request).st_size, 0).decode()


def end_with_reader(out: int) -> None:
    """End this process, whatever it does, as soon as no process has the other end of the pipe `out` open any more."""
    poll = select.poll()
    poll.register(out, 0)  # POLLERR is always reported

    def wait() -> None:
        poll.poll()
        os._exit(0)

    with suppress(RuntimeError):  # no thread to be had: it ends when AWS has answered
        threading.Thread(target=wait, name="reader", daemon=True).start()


def serve(ask: Callable[[], str], out: int) -> None:
    """Run the job that the request names; write its lines to `out`. The outermost edge of the child.

    `ask` returns the request.
    """
    _silence()
    late_imports.put_off()
    emit = partial(_emit, out)
    try:
        with_room(partial(_run, ask, emit))
    except Exception as exc:  # named by class and location; its text might quote a reply
        emit(f'{{"crashed": "{type(exc).__name__} at {_location(exc)}"}}')


def _run(ask: Callable[[], str], emit: Callable[[str], None]) -> None:
    payload = json.loads(ask())
    import_module(JOBS[payload.pop("job")]).run(payload, emit)


def with_room(work: Callable[[], None]) -> None:
    """Call `work` from a frame of ROOM slots, whose block of Python's stack has as much room again for frames below it.

    Where a block is full, a call maps another and its return unmaps that. Imports nest over such a place 850 times,
    and these were a third of the child's system calls.
    """
    code = (lambda call: call()).__code__.replace(co_stacksize=ROOM)
    FunctionType(code, {})(work)


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _emit(out: int, line: str) -> None:
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]


def _location(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
