"""Start a command: two on fast paths, every other through `cli.parser`.

Invariants:
- `healthcheck` runs every few seconds in every task: it is answered before anything else is imported.
- `run` without arguments, as every pod starts it, needs no argument parser.
- What `run` needs is imported in the worker: the process that supervises it stays small.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MANIFEST = "/etc/entitlement-sidecar/product.yaml"


def main(argv: Sequence[str] | None = None, manifest: str = MANIFEST) -> int:
    """Run one command and return its exit code. `manifest`: where the image seals its product; only tests move it."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given == ["healthcheck"]:
        from sidecar.cli.local_client import print_healthcheck

        return print_healthcheck(manifest)
    if given == ["run"]:  # every pod starts so: no argument needs a parser, nothing made is garbage yet
        import gc

        gc.disable()
        from sidecar.app.start import start

        return start({}, manifest)
    import signal
    from pathlib import Path

    if given[:1] == ["run"]:
        # As PID 1 there is no default, and a container may be stopped before the rest is imported.
        signal.signal(signal.SIGTERM, _end_at_once)
    return _exit_code(lambda: _parse(given, Path(manifest)))


def _end_at_once(_signal: int, _frame: object) -> None:
    """Exit at once: nothing has begun yet, and an exception could be swallowed by the code it interrupts."""
    os._exit(0)


def _exit_code(command: Callable[[], int]) -> int:
    """Return a command's exit code, also where it raises."""
    from sidecar.errors import SettingsError

    try:
        return int(command())
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return 78
    except KeyboardInterrupt:
        return 130


def _parse(given: list[str], manifest: Path) -> int:
    from sidecar.cli import parser

    return parser.run(given, manifest)


if __name__ == "__main__":
    sys.exit(main())
