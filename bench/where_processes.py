"""Finds the processes of a sidecar at rest, for `where.py`."""

from __future__ import annotations

import kernel
from lib import Server

SIDES = ("supervisor", "worker")


def processes_of(server: Server) -> dict[str, int]:
    """Name → pid. With one process, that is the supervisor."""
    others = sorted(kernel.tree(server.pid) - {server.pid})
    return dict(zip(SIDES, [server.pid, *others], strict=False))
