"""Write what gunicorn logs as events of the sidecar's log: warnings and errors; the rest is for debugging."""

from __future__ import annotations

import os
import sys
from typing import Any

from sidecar import log


class GunicornLogger:
    """A `logger_class` for gunicorn."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg

    def debug(self, message: str, *args: Any, **_: Any) -> None:
        log.LOGGER.debug("server.debug", extra={"text": _text(message, args)})

    info = debug

    def warning(self, message: str, *args: Any, **fields: Any) -> None:
        log.warn("server.warning", text=_text(message, args), **fields.get("extra", {}))

    def error(self, message: str, *args: Any, **fields: Any) -> None:
        text = _text(message, args)
        if not _expected(text):
            log.error("server.error", text=text, **fields.get("extra", {}))

    def exception(self, message: str, *args: Any, **_: Any) -> None:
        kind, _value, trace = sys.exc_info()
        while trace and trace.tb_next:
            trace = trace.tb_next
        where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
        log.error("server.error", text=_text(message, args), error=kind.__name__ if kind else None, where=where)

    critical = error

    def access(self, *_: Any) -> None:
        """Probes come every few seconds in every pod; they are counted, not logged."""

    def reopen_files(self) -> None:
        """Stdout is not reopened."""

    def close_on_exec(self) -> None:
        """Nothing of ours is inherited."""


def _text(message: str, args: tuple[Any, ...]) -> str:
    try:
        return message % args if args else message
    except (TypeError, ValueError):
        return message


def _expected(text: str) -> bool:
    """gunicorn calls its own orderly end an error when the exit code is not 0."""
    return text.startswith(("Shutting down", "Reason:"))
