"""Play the faults that concern the connection.

Invariants:
- A dropped connection is closed without one byte of answer.
- A call that hangs ends when its client goes or the emulator stops, so that stopping never waits for it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Final

from sidecar.emulator.faults import Fault
from sidecar.emulator.json_api import CONTENT_TYPE, WEB_PAGE
from sidecar.emulator.wire import Reply

LOOK_SECONDS: Final = 0.05
"""How often a hanging call looks whether its client has gone."""


class Dropped(ConnectionError):
    """The connection was closed on purpose; the HTTP server ends the request silently."""


def replacement(fault: Fault, connection: socket.socket, stopping: threading.Event) -> Reply:
    """Return what replaces the answer. Raises Dropped where nothing is sent."""
    if fault.kind == "hang":
        _wait_for_the_end(connection, stopping)
        raise drop(connection)
    if fault.kind == "drop_before":
        raise drop(connection)
    if fault.kind == "empty_200":
        return Reply(status=200, content_type=CONTENT_TYPE, body=b"")
    return Reply(status=503 if fault.kind == "html_503" else 200, content_type="text/html", body=WEB_PAGE)


def drop(connection: socket.socket) -> Dropped:
    """Close the connection and return the exception to raise."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    return Dropped()


def _wait_for_the_end(connection: socket.socket, stopping: threading.Event) -> None:
    while not stopping.wait(LOOK_SECONDS):
        readable, _, _ = select.select([connection], [], [], 0)
        try:
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return
        except OSError:
            return
