"""Record log events."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sidecar.log import LOGGER


class Events(logging.Handler):
    """What was logged: events by name, each with its fields."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._heard = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._heard:
            self.records.append(record)
            self._heard.notify_all()

    def names(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [record.__dict__ for record in self.records if record.getMessage() == name]

    def one(self, name: str) -> dict[str, Any]:
        (found,) = self.of(name)
        return found

    def wait_for(self, name: str, seconds: float = 10.0, times: int = 1) -> bool:
        with self._heard:
            return self._heard.wait_for(lambda: self.names().count(name) >= times, seconds)


@contextmanager
def logged_events() -> Iterator[Events]:
    """The sidecar's log events while the block runs."""
    events, level, spread = Events(), LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(events)
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    try:
        yield events
    finally:
        LOGGER.removeHandler(events)
        LOGGER.setLevel(level)
        LOGGER.propagate = spread
