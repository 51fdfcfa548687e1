"""Start the sidecar: a process that supervises, and a worker that does everything else.

Invariants:
- The supervising process imports next to nothing for as long as it runs: it stays beside every worker.
- The exit code is the one that the worker left in the restart state, whatever became of the worker itself.
"""

from __future__ import annotations

import os
import sys

from sidecar.server.supervised import Supervised
from sidecar.server.supervisor import DRAIN_SECONDS, supervise

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    from collections.abc import Mapping


def start(flags: Mapping[str, str], manifest: str) -> int:
    """Run until told to stop, or until there is a reason to end. Returns the exit code."""
    return supervise(lambda shared: _work(flags, manifest, shared), _ended)


def _work(flags: Mapping[str, str], manifest: str, shared: Supervised) -> int:
    from sidecar.app import first_child

    waiting = first_child.fork(shared)
    from pathlib import Path

    from sidecar.app import run
    from sidecar.errors import Exit, SettingsError

    try:
        return run.run(os.environ, flags, Path(manifest), shared, waiting)
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return Exit.CONFIG
    finally:
        if waiting:
            waiting.dismiss()


def remove(socket_files: list[tuple[str, int, int]]) -> None:
    """Remove the files that a worker left that did not end by itself."""
    for path, device, inode in socket_files:
        if os.path.lexists(path):
            from pathlib import Path

            from sidecar.server import unix_socket

            unix_socket.remove(unix_socket.SocketFile(Path(path), device, inode))


def _ended(shared: Supervised, failed: int) -> int:
    """Remove what workers left, log the end, and return the exit code.

    `failed`: that of a start that failed; 0: there is none.
    """
    from sidecar import log
    from sidecar.restart_state import RestartState

    restart_state = RestartState(shared.restart_state)
    facts = restart_state.read()
    remove(facts.get("socket_files", []))
    if failed:
        return failed  # the worker has said why
    code = int(facts.get("exit", 0))
    log.start(restart_state.log_level())
    log.event("sidecar.stopped", exit_code=code)
    log.LINES.drain(DRAIN_SECONDS)
    return code
