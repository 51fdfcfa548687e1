"""Write JSON lines on stdout: one event with its fields, no sentences.

Invariants:
- An event is `noun.past_tense`; fields reuse the project's words.
- Never a token, a key, a credential or a request's body.
- No thread waits for the reader of stdout: a stuck log agent shuts no gate, and delays no probe and no end. What it
  does not take is dropped and counted.
- The last lines stay in memory, bounded in number and bytes, for `GET /v1/log`: also those that no reader took.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final, Protocol

LOGGER: Final = logging.getLogger("entitlement_sidecar")


class Speak(Protocol):
    """Logs one event with its fields."""

    def __call__(self, name: str, **fields: object) -> None: ...


LINES_WAITING_MAX: Final = 1000
LINES_KEPT_MAX: Final = 1000
BYTES_KEPT_MAX: Final = 1024 * 1024
"""Room for LINES_KEPT_MAX lines with a hint each, of some 700 bytes. It is taken line by line: an idle sidecar logs a
few an hour, of some 300 bytes."""
PLAIN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class JsonLines(logging.Formatter):
    """`{"at", "level", "event", …fields}`; what cannot be JSON is written as text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in PLAIN and value is not None}
        if record.exc_info and record.exc_info[1]:
            line["error"] = type(record.exc_info[1]).__name__
        return json.dumps(line, default=str)


class LastLines:
    """The last lines of the log, oldest first. Used with the lock of the handler that writes them."""

    def __init__(self, lines_max: int = LINES_KEPT_MAX, bytes_max: int = BYTES_KEPT_MAX) -> None:
        """Keep at most so many lines, and bytes."""
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._lines_max, self._bytes_max = lines_max, bytes_max

    def add(self, line: bytes) -> None:
        """Keep a line, and forget the oldest where there are too many."""
        self._lines.append(line)
        self._bytes += len(line)
        while len(self._lines) > self._lines_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._lines.popleft())

    def text(self) -> bytes:
        """Return them all."""
        return b"".join(self._lines)


class Lines(logging.Handler):
    """Writes lines to a file descriptor without ever waiting for its reader.

    A line goes out at once where the pipe has room for it. Otherwise lines queue up to a limit, and a
    thread that may wait writes them; past the limit they are dropped and counted.
    """

    def __init__(self, handle: int = 1) -> None:
        super().__init__()
        self._handle = handle
        self._waiting: deque[bytes] = deque()
        self._writing = False
        self._last = LastLines()
        self.dropped = 0
        os.register_at_fork(after_in_child=self._forget)

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held, so nothing here may wait."""
        line = self.format(record).encode() + b"\n"
        self._last.add(line)
        if not self._writing and len(line) <= select.PIPE_BUF and self._has_room():
            self._write(line)
        elif len(self._waiting) >= LINES_WAITING_MAX:
            self.dropped += 1
        else:
            self._waiting.append(line)
            self._begin()

    def last(self) -> bytes:
        """Return the last lines, oldest first."""
        with self._guard():
            return self._last.text()

    def drain(self, seconds: float) -> None:
        """Wait a moment for queued lines to be written; a slower reader loses them."""
        deadline = time.monotonic() + seconds
        while self._writing and time.monotonic() < deadline:
            time.sleep(0.01)

    def _has_room(self) -> bool:
        """For a pipe: whether PIPE_BUF bytes can be written without waiting (poll(2), pipe(7))."""
        poll = select.poll()
        poll.register(self._handle, select.POLLOUT)
        return bool(poll.poll(0))

    def _begin(self) -> None:
        if not self._writing:
            self._writing = True
            try:
                threading.Thread(target=self._work, name="log", daemon=True).start()
            except RuntimeError:  # no thread to be had: the next line tries again
                self._writing = False

    def _work(self) -> None:
        while True:
            with self._guard():
                if not self._waiting:
                    self._writing = False
                    return
                line = self._waiting.popleft()
            self._write(line)

    def _guard(self) -> Any:
        return self.lock or contextlib.nullcontext()

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._handle, line) :]
        except OSError:
            self.dropped += 1  # there is no reader any more

    def _forget(self) -> None:
        """In a forked child: what waits is the parent's to say."""
        self._waiting.clear()
        self._writing = False


LINES: Final = Lines()


def start(level: str) -> None:
    """Log from here on; `level` as in the settings."""
    LINES.setFormatter(JsonLines())
    LOGGER.handlers[:] = [LINES]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False


def silence() -> None:
    """Stop logging: for commands whose output is stdout."""
    LOGGER.handlers[:] = [logging.NullHandler()]
    LOGGER.propagate = False


def event(name: str, **fields: object) -> None:
    """Log one event."""
    LOGGER.info(name, extra=fields)


def warn(name: str, **fields: object) -> None:
    """Log an event that a person should look at."""
    LOGGER.warning(name, extra=fields)


def error(name: str, **fields: object) -> None:
    """Log an event that a person must act on."""
    LOGGER.error(name, extra=fields)
