"""Hand on what the first worker read and bound, so that a worker that replaces it is the same service.

Invariants:
- A file that is edited while the service runs changes nothing until the container starts again: neither what product
  an open gate is for, nor whether a worker can be replaced. Each worker parses what the first one read; the
  environment and the flags are its supervisor's.
- What is handed on stays in memory that only this service's processes hold, an API token too: who could open it could
  read theirs.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Final

from sidecar.quick_dataclasses import dataclass, replace
from sidecar.restart_state import RestartState
from sidecar.server import handed_on, listeners
from sidecar.server.listeners import Listening
from sidecar.server.supervised import Supervised
from sidecar.settings import Settings
from sidecar.settings.files import Files

SPARE_SECONDS: Final = 0.5
"""For a worker that finishes what another began, to start and to be gone in."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The files as they were read, the sockets as they were bound."""

    files: Files
    listening: tuple[Listening, ...]
    kept_open: tuple[int, ...] = ()
    """The descriptor that says that the address file is in use."""


def hand_on(shared: Supervised, begun: Begun, restart_state: RestartState) -> None:
    """Leave it to the workers that follow; to the supervisor the socket files that it may have to remove.

    Raises OSError.
    """
    listening = [[one.name, (str(one.file.path), *one.file[1:]) if one.file else None] for one in begun.listening]
    restart_state.update(socket_files=[file for _, file in listening if file])
    content = json.dumps({"files": begun.files.contents, "listening": listening}).encode()
    sockets = [one.sock.fileno() for one in begun.listening]
    handed_on.hand_on(shared, content, [*sockets, *begun.kept_open])


def take(shared: Supervised) -> Begun | None:
    """Return what the first worker left; None where this is the first."""
    found = handed_on.take(shared)
    if found is None:
        return None
    content, descriptors = json.loads(found[0]), found[1]
    listening = tuple(
        _listening(name, descriptor, file)
        for (name, file), descriptor in zip(content["listening"], descriptors, strict=False)
    )
    kept_open = tuple(descriptors[len(listening) :])
    return Begun(files=Files(content["files"]), listening=listening, kept_open=kept_open)


def _listening(name: str, descriptor: int, file: tuple[str, int, int] | None) -> Listening:
    sock = socket.socket(fileno=descriptor)
    if file is None:
        return Listening(name=name, sock=sock)
    from sidecar.server.unix_socket import SocketFile

    path, device, inode = file
    return Listening(name=name, sock=sock, file=SocketFile(Path(path), device, inode))


def in_time(settings: Settings, shared: Supervised) -> Settings:
    """Return the settings of a worker that may finish what another began: its flush has what is left of the time."""
    left = shared.seconds_left()
    if left is None:
        return settings
    return replace(settings, flush_seconds=max(1, min(settings.flush_seconds, int(left - SPARE_SECONDS))))


def close(shared: Supervised, begun: Begun) -> None:
    """Leave nothing to anyone, where no worker follows: this one is about to close its sockets.

    Where the supervisor was not told to end it replaces this worker, which needs all of it.
    """
    if not shared.is_ending():
        return
    listeners.remove_files(begun.listening)
    handed_on.drop(shared)


def descriptors(shared: Supervised, begun: Begun) -> list[int]:
    """Return every descriptor that keeps a port or the address file in use: a child that is forked closes them."""
    sockets = [one.sock.fileno() for one in begun.listening]
    return [*sockets, *begun.kept_open, shared.keeps.fileno(), shared.kept.fileno()]
