"""Start a short-lived child process, read its lines and end it.

Whatever needs botocore, jwt or cryptography runs in a child that exits: the resident process imports
none of them, and a hung or crashed call cannot touch the probes.

Invariants:
- At boot, while the process has one thread, the child is forked, and imports what its job needs while the worker finds
  out what to ask; later, beside threads, it is spawned.
- This module knows bytes and lines. Which job a child runs is a name in its request (`child.main`).
- A line that does not come in time, or does not parse, is a `ChildFailure`: the caller kills the child and goes on.
- The parent waits for what it started.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol, TypeVar

from sidecar.quick_dataclasses import dataclass, field

CHILD_FAILED: Final = "child_failed"
CHILD_TIMED_OUT: Final = "child_timed_out"
CLOSE_SECONDS: Final = 0.2
"""For a child that has written its last line, to end."""
LINE_BYTES_MAX: Final = 1 << 20
CRASH_TEXT_MAX: Final = 200

START: Final = "import sys; sys.path[:] = sys.argv[1].split(chr(10)); from sidecar.child.main import main; main()"
"""The spawned child imports from where its parent did: the path goes along as an argument."""

Message = TypeVar("Message")


class JobRequest(Protocol):
    """What a child is asked to do: a JSON object whose member `job` names one of `child.main.JOBS`."""

    def as_json(self) -> str:
        """Return the request as JSON. It holds no secret but the product's public keys."""


@dataclass(frozen=True, kw_only=True)
class ChildFailure:
    """Why a child gave no usable line."""

    code: str
    """`child_failed` or `child_timed_out`."""
    crash: str | None = None
    """Exception class and location, where the child could still write them."""


@dataclass(kw_only=True)
class ChildProcess:
    """A running child and the pipe it writes to."""

    pid: int
    pipe: int
    spawned: bool
    """Whether this process has to wait for it."""
    _buffer: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """Whether the pipe has ended."""

    def read_line(self, deadline: float) -> bytes | None:
        """Return the next line, or None once the pipe has ended or `deadline` (monotonic) has passed."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            poll = select.poll()
            poll.register(self.pipe, select.POLLIN)
            if left <= 0 or not poll.poll(left * 1000):
                return None
            chunk = os.read(self.pipe, 65_536)
            if len(self._buffer) > LINE_BYTES_MAX:
                self.kill()  # it would write more, and do more
                chunk = b""
            if not chunk:
                self.ended = True
                return None
            self._buffer += chunk
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = bytearray(rest)
        return bytes(line)

    def kill(self) -> None:
        """Kill the child now. Harmless once it has ended."""
        if not self.ended:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_if_running(self) -> None:
        """Kill it where it still runs as this process's child; the pid of one already reaped may be another's."""
        try:
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
        except ChildProcessError:
            pass

    def close(self) -> None:
        """Kill what still runs, wait for what was spawned, and close the pipe."""
        deadline = time.monotonic() + (0.0 if self.spawned else CLOSE_SECONDS)
        while not self.ended and self.read_line(deadline) is not None:
            pass  # once the pipe has ended, the pid of a child that others reap may be another's
        self.kill()
        self.ended = True
        os.close(self.pipe)
        if self.spawned:
            try:
                os.waitpid(self.pid, 0)
            except ChildProcessError:
                pass


def read_message(
    child: ChildProcess, parse: Callable[[bytes], Message], deadline: float
) -> tuple[Message | None, ChildFailure | None]:
    """Return the child's next line as `parse` reads it, or why there is none.

    `parse` raises ValueError for a line that is not a message. `deadline` is monotonic.
    """
    line = child.read_line(deadline)
    if line is None:
        return None, ChildFailure(code=CHILD_FAILED if child.ended else CHILD_TIMED_OUT)
    try:
        return parse(line), None
    except ValueError:
        return None, ChildFailure(code=CHILD_FAILED, crash=_crash(line))


def read_messages(
    child: ChildProcess, parse: Callable[[bytes], Message], count: int, deadline: float
) -> tuple[list[Message], ChildFailure | None]:
    """Return up to `count` messages in order, and why some are missing.

    When this returns the child has been killed and reaped: what it had not sent, it will not send.
    """
    found: list[Message] = []
    failure: ChildFailure | None = None
    try:
        while len(found) < count and failure is None:
            message, failure = read_message(child, parse, deadline)
            if message is not None:
                found.append(message)
    finally:
        child.close()
    return found, failure


def _crash(line: bytes) -> str:
    """Return exception class and location from the last line of a child that crashed."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return str(found.get("crashed"))[:CRASH_TEXT_MAX] if isinstance(found, dict) else "unreadable"


@dataclass(kw_only=True)
class WaitingChild:
    """A child that imports what its job needs, and waits for its request. It ends with this process."""

    child: ChildProcess
    _asks: int
    """A byte sent here says that the request is written; the end of the pipe, that there will be none."""
    _request: int
    """A file in memory: it takes the request whole, whenever the child reads it."""
    _closed: bool = False

    def ask(self, request: JobRequest) -> ChildProcess:
        """Return the child, which answers this request now. Raises OSError."""
        os.pwrite(self._request, request.as_json().encode(), 0)
        try:
            os.write(self._asks, b".")
        except BrokenPipeError:
            pass  # it has ended; so does its pipe
        self._close()
        return self.child

    def dismiss(self) -> None:
        """End the child, unless it has been asked."""
        if not self._closed:
            self._close()
            self.child.close()

    def _close(self) -> None:
        self._closed = True
        os.close(self._asks)
        os.close(self._request)


def fork(job: str, close: Iterable[int] = ()) -> WaitingChild:
    """Start a child that prepares for `job`. Only while this process has one thread. Raises OSError.

    `close`: descriptors that it must not hold open.
    """
    opened: list[int] = []
    try:
        reads, writes = os.pipe()
        opened += reads, writes
        waits, asks = os.pipe()
        opened += waits, asks
        opened.append(request := os.memfd_create("request", os.MFD_CLOEXEC))
        pid = os.fork()
    except OSError:
        for handle in opened:
            os.close(handle)
        raise
    if pid:
        os.close(writes)
        os.close(waits)
        child = ChildProcess(pid=pid, pipe=reads, spawned=True)
        return WaitingChild(child=child, _asks=asks, _request=request)
    try:
        for handle in (reads, asks, *close):
            os.close(handle)
        from sidecar.child import main

        main.end_with_reader(writes)
        main.serve(partial(main.await_request, job, waits, request), writes)
    finally:
        os._exit(0)


def spawn(request: JobRequest) -> ChildProcess:
    """Start a child beside running threads. Raises OSError; then no descriptor is left open."""
    text = request.as_json().encode()
    opened: list[int] = []
    try:
        reads, writes = os.pipe()
        opened += reads, writes
        opened.append(asked := os.memfd_create("request", os.MFD_CLOEXEC))
        os.write(asked, text)  # a file in memory takes it whole, whenever the child reads
        os.lseek(asked, 0, os.SEEK_SET)
        opened.append(null := os.open(os.devnull, os.O_RDWR))
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-c", START, "\n".join(sys.path)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, asked, 0),
                (os.POSIX_SPAWN_DUP2, writes, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
            ],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGPIPE],
            setsigmask=[],
        )
        opened.remove(reads)
    finally:
        for handle in opened:
            os.close(handle)
    return ChildProcess(pid=pid, pipe=reads, spawned=True)
