"""Wait for SIGTERM or SIGINT, as process 1 too."""

from __future__ import annotations

import os
import signal


class EndSignals:
    """Handlers are installed while it is entered: process 1 has no default ones."""

    def __enter__(self) -> EndSignals:
        self._read, self._write = os.pipe()
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self) -> None:
        """Return once one of them came, now or before."""
        os.read(self._read, 1)

    def _note(self, number: int, frame: object) -> None:
        os.write(self._write, b".")
