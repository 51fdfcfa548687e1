"""Run the emulator: one `EmulatorState` behind a real HTTP server, in a thread.

Invariants:
- It binds 127.0.0.1 unless told otherwise: it proves nothing, so no other machine should find it.
- Stopping never waits for a call that hangs; its connection is dropped.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sidecar.clock import Clock
from sidecar.emulator import timeline as script
from sidecar.emulator.app import create_app
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.keys import DEFAULT_BITS, SigningKeys
from sidecar.emulator.state import DEFAULT_DIMENSION, DEFAULT_PRODUCT_CODE, EmulatorState, Event

DEFAULT_HOST: Final = "127.0.0.1"
POLL_SECONDS: Final = 0.02
"""How soon the server notices that it has to stop."""
BACKLOG: Final = 128
STOP_SECONDS_MAX: Final = 5.0


class Emulator(EmulatorState):
    """A local AWS. As a context manager it runs inside the block; `start` and `stop` do the same."""

    def __init__(
        self,
        *,
        product_codes: Iterable[str] = (DEFAULT_PRODUCT_CODE,),
        dimensions: Iterable[str] = (DEFAULT_DIMENSION,),
        subscribed: bool = True,
        behaviour: Behaviour | None = None,
        key_versions: Iterable[int] = (1,),
        key_bits: int = DEFAULT_BITS,
        keys: SigningKeys | None = None,
        host: str = DEFAULT_HOST,
        port: int = 0,
        clock: Clock | None = None,
        clock_start: datetime | None = None,
        clock_speed: float = 1.0,
        timeline: Iterable[object] = (),
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Port 0 takes a free one. `timeline` is a list of steps. Raises BadCommand."""
        super().__init__(
            product_codes=product_codes,
            dimensions=dimensions,
            subscribed=subscribed,
            behaviour=behaviour,
            key_versions=key_versions,
            key_bits=key_bits,
            keys=keys,
            clock=clock,
            clock_start=clock_start,
            clock_speed=clock_speed,
            on_event=on_event,
        )
        self.host = host
        self.port = port
        self._steps = script.read_steps(self, timeline)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server: BaseWSGIServer | None = None

    @property
    def url(self) -> str:
        """Return where it answers; known once it is bound."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def bind(self) -> BaseWSGIServer:
        """Bind the address, so that `url` is known; clients that connect wait. Raises OSError."""
        if self._server is None:
            self._server = self._bound()
            self.port = self._server.port
        return self._server

    def start(self) -> Self:
        """Bind unless bound, and answer. Raises OSError when the address is not available."""
        self._run(partial(self.bind().serve_forever, poll_interval=POLL_SECONDS))
        self._run(partial(script.play, self, self._steps, self._stopping))
        return self

    def stop(self) -> None:
        """Stop answering and drop calls that still hang. Harmless when repeated."""
        self._stopping.set()
        self.queues.close()
        if self._server is not None and self._threads:
            self._server.shutdown()
        elif self._server is not None:
            self._server.server_close()
        self._server = None
        for thread in self._threads:
            thread.join(timeout=STOP_SECONDS_MAX)
        self._threads.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bound(self) -> BaseWSGIServer:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # Bound here: werkzeug would end the process on an address in use.
        with socket.create_server((self.host, self.port), family=family, backlog=BACKLOG) as bound:
            return make_server(
                self.host,
                bound.getsockname()[1],
                create_app(self, self._stopping),
                threaded=True,
                request_handler=_QuietHandler,
                fd=bound.fileno(),
            )

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="emulator", daemon=True)
        self._threads.append(thread)
        thread.start()


class _QuietHandler(WSGIRequestHandler):
    """Answers without a line per request; `EmulatorState.calls` has them."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """The application sets Date; a second one would make neither valid."""
        self.send_response_only(code, message)

    def log(self, type: str, message: str, *args: object) -> None:
        """Log nothing."""
