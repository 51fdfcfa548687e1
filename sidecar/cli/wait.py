"""Run `wait`, `exec`, `recheck` and `pre-stop`, clients of a running sidecar.

Invariants:
- The wait ends when AWS says yes, when it says no, or at the timeout; anything else is waited out, a sidecar that does
  not run yet included.
- stderr says what is waited for, once per change.
- As PID 1 these commands end on SIGTERM like any other process.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

from sidecar.cli import local_client
from sidecar.cli.endpoint import UNIX, Endpoint, api, connect_socket, gate
from sidecar.errors import Exit, Problem, SettingsError
from sidecar.printable import one_line
from sidecar.settings import parsers
from sidecar.settings.addresses import unix_socket

POLL_SECONDS: Final = 0.25
POLL_SECONDS_MAX: Final = 2.0
REQUEST_SECONDS: Final = 5.0
LOOK: Final = (
    "Does that workload run, and does its Service or security group let port 8484 through? A Service without a ready"
    " pod refuses; then `kubectl get pods` and the log of that workload's own sidecar say why its gate is shut"
)
"""What to look at where another workload's sidecar, the only one with a name of its own, cannot be reached."""


class Target(NamedTuple):
    """Where the gate is asked."""

    scheme: str
    server: str
    """Host and port, as a URL has them."""
    path: str
    endpoint: Endpoint | None = None
    """What is connected to instead, for the sidecar of this container or a Unix socket."""

    @property
    def shown(self) -> str:
        """Where it is asked, as a message names it."""
        return self.endpoint.shown if self.endpoint else self.server


def wait(timeout: float | None, url: str | None, ended: Callable[[], int | None] = lambda: None) -> int:
    """Block until entitled. Returns 0, 69 at the timeout, 77 where denied.

    `ended` is asked before each look: a code that it returns ends the wait.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit_on_signal)
    deadline = None if timeout is None else time.monotonic() + timeout
    pause, shown = POLL_SECONDS, ""
    while True:
        code = ended()
        if code is not None:
            return code
        status, line = _look(url, _seconds_left(deadline, REQUEST_SECONDS))
        if line != shown:
            say(line)
            shown, pause = line, POLL_SECONDS
        if status == 200:
            return Exit.OK
        if status == 403:
            return Exit.DENIED
        if deadline is not None and time.monotonic() >= deadline:
            say(f"not entitled within {timeout:g} s")
            return Exit.UNAVAILABLE
        time.sleep(_seconds_left(deadline, pause))
        pause = min(pause * 1.5, POLL_SECONDS_MAX)


def say(text: str) -> None:
    """Write a line for a person. Once stderr cannot be written to, this line and all later ones are discarded."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        with contextlib.suppress(OSError):  # what is left in the buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def wait_then_exec(timeout: float | None, command: Sequence[str], url: str | None = None) -> int:
    """Wait, then replace this process with `command`. Returns only where it was not started."""
    program = program_of(command)
    if isinstance(program, Exit):
        return program
    code = wait(timeout, url)
    if code != Exit.OK:
        sys.stderr.write(f"{command[0]} was not started\n")
        return code
    sys.stderr.flush()
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execv(program, list(command))
    except OSError as exc:
        sys.stderr.write(f"{command[0]}: {exc.strerror}\n")
        return Exit.NOT_EXECUTABLE


def program_of(command: Sequence[str]) -> str | Exit:
    """Return the file that a command runs; where there is none, say so and return the exit code."""
    program = shutil.which(command[0])
    if program is not None:
        return program
    found = os.path.exists(command[0])
    sys.stderr.write(f"{command[0]}: {'cannot be executed' if found else 'no such command'}\n")
    return Exit.NOT_EXECUTABLE if found else Exit.NOT_FOUND


def recheck() -> int:
    """Ask AWS again now. Returns 0 where it is being asked, 69 otherwise."""
    return _post("/v1/recheck", "AWS is being asked; `entitlement-sidecar healthcheck` shows the answer")


def pre_stop() -> int:
    """Tell the sidecar that its pod has begun to end. Returns 0 where it knows, 69 otherwise."""
    return _post("/v1/pre-stop", "the sidecar settles closed hours now, and the running one before the grace is over")


def _post(path: str, done: str) -> int:
    """Send a POST without a body to the sidecar of this container, and print `done` where it accepts."""
    where = None
    try:
        where = api()
        headers = where.headers() | local_client.authorization()
        status, found = local_client.get_json(where.addresses, f"POST {path}", REQUEST_SECONDS, headers)
    except (OSError, ValueError) as exc:
        at = f" at {where.shown}" if where else ""
        sys.stderr.write(
            f"no sidecar answers{at} ({one_line(str(exc))}). Run this in its container, with its SIDECAR_API_BIND.\n"
        )
        return Exit.UNAVAILABLE
    if status != 202:
        sys.stderr.write(one_line(f"not done ({found.get('reason')}): {found.get('detail')}") + "\n")
        return Exit.UNAVAILABLE
    sys.stdout.write(done + "\n")
    return Exit.OK


def _look(url: str | None, timeout: float) -> tuple[int, str]:
    """Return HTTP status and the line to show. The address file is read each time: a restart replaces it."""
    try:
        target = _target(url)
    except (OSError, ValueError) as exc:
        return 0, one_line(f"waiting for the sidecar ({exc})")
    return _poll(target, timeout)


def _target(url: str | None) -> Target:
    """Return where the gate is asked. Raises SettingsError; OSError and ValueError without a readable address file."""
    if url is None:
        where = gate()
        server = "localhost" if isinstance(where.addresses[0], str) else where.shown
        return Target("http", server, "/entitled", where)
    try:
        if url.startswith(UNIX):
            return Target("http", "localhost", "/entitled", Endpoint([str(unix_socket(url).path)]))
        parts = urlsplit(parsers.url(url))
    except ValueError as exc:
        raise SettingsError([Problem(setting="--url", fault=str(exc), example="http://product:8484")]) from exc
    return Target(parts.scheme, parts.netloc, parts.path if parts.path.strip("/") else "/entitled")


def _poll(target: Target, timeout: float) -> tuple[int, str]:
    """Return HTTP status and the line to show; status 0 where no sidecar answers."""
    path, where, timeout = target.path, target.endpoint, max(timeout, 0.1)
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.server, timeout=timeout)
    timer = threading.Timer(timeout, _cut, [connection])  # for a server that sends a byte at a time
    try:
        timer.start()
        if where:
            connection.sock = connect_socket(where.addresses, timeout)
        connection.request("GET", path, headers=where.headers() if where else {})
        response = connection.getresponse()
        found = json.loads(response.read(local_client.BYTES_MAX))
        if where and isinstance(found, dict):
            where.check_gate(response.status, found)
    except (OSError, ValueError, RuntimeError, http.client.HTTPException) as exc:  # RuntimeError: no thread to be had
        look = "" if where else f". {LOOK}"
        return 0, one_line(f"waiting for the sidecar at {target.shown} ({exc}){look}")
    finally:
        timer.cancel()
        connection.close()
    if not isinstance(found, dict) or "entitled" not in found:
        return 0, f"waiting: what answers at {target.shown}{path} is not a sidecar's gate"
    open_gate = response.status == 200 and found["entitled"] is True
    return 200 if open_gate else response.status if response.status != 200 else 0, local_client.format_status(found)


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _seconds_left(deadline: float | None, most: float) -> float:
    return most if deadline is None else max(0.0, min(most, deadline - time.monotonic()))


def _exit_on_signal(_signal: int, _frame: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)
