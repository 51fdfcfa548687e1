"""Hand on what the first worker read and bound, so that a worker that replaces it is the same sidecar.

Invariants:
- A file that is edited while the sidecar runs changes nothing until the container starts again: neither what product
  an open gate is for, nor whether a worker can be replaced.
- What is handed on stays in memory that only this sidecar's processes hold, secrets too.
"""

from __future__ import annotations

import _pickle  # what `pickle` takes its functions from
import socket
from dataclasses import dataclass

from sidecar.server import handed_on
from sidecar.server.listeners import Listening
from sidecar.server.supervisor import Supervised
from sidecar.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The settings as they were read, the sockets as they were bound."""

    settings: Settings
    listening: tuple[Listening, ...]
    kept_open: tuple[int, ...]
    """The descriptor that says that the address file is in use."""


def hand_on(shared: Supervised, begun: Begun) -> None:
    """Leave it to the workers that follow. Raises OSError."""
    content = _pickle.dumps((begun.settings, [(one.name, one.file) for one in begun.listening]))
    sockets = [one.sock.fileno() for one in begun.listening]
    handed_on.hand_on(shared, content, [*sockets, *begun.kept_open])


def take(shared: Supervised) -> Begun | None:
    """Return what the first worker left; None where this is the first."""
    found = handed_on.take(shared)
    if found is None:
        return None
    content, descriptors = found
    settings, listeners = _pickle.loads(content)
    listening = tuple(
        Listening(name=name, sock=socket.socket(fileno=descriptor), file=file)
        for (name, file), descriptor in zip(listeners, descriptors, strict=False)
    )
    return Begun(settings=settings, listening=listening, kept_open=tuple(descriptors[len(listening) :]))


def descriptors(shared: Supervised, begun: Begun) -> list[int]:
    """Return every descriptor that keeps a port or the address file in use: a child that is forked closes them."""
    sockets = [one.sock.fileno() for one in begun.listening]
    return [*sockets, *begun.kept_open, shared.keeps.fileno(), shared.kept.fileno()]
