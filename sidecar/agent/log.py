"""What happened, as JSON lines on stdout: one event, its fields, no sentences.

Rules kept here:
- An event is `noun.past_tense`; fields reuse the project's words.
- Never a token, a key, a credential or a request's body.
- A line is written whole by one call. Nothing that answers a probe logs: stdout may be stuck.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Protocol

LOGGER: Final = logging.getLogger("entitlement_sidecar")


class Speak(Protocol):
    """Logs one event with its fields."""

    def __call__(self, name: str, **fields: object) -> None: ...


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


def start(level: str) -> None:
    """Log from here on; `level` as in the settings."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False


def event(name: str, **fields: object) -> None:
    """Log one event."""
    LOGGER.info(name, extra=fields)


def warn(name: str, **fields: object) -> None:
    """Log an event somebody should look at."""
    LOGGER.warning(name, extra=fields)


def error(name: str, **fields: object) -> None:
    """Log an event somebody must act on."""
    LOGGER.error(name, extra=fields)
