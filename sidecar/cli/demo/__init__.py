"""Run emulator, sidecar and a tiny product in one terminal, and end by itself: a route for each way of pricing.

Elsewhere: what the routes share (`environment`), and each route's steps (a module each, named in `ROUTES`).

Invariants:
- Real processes, real HTTP and real signatures; only AWS is emulated.
- The demo checks each step, and fails where one has another result.
- A route's module is imported when it runs.
"""

from __future__ import annotations

from typing import Final

ROUTES: Final = {
    "hourly": "sidecar.cli.demo.hourly",
    "contract": "sidecar.cli.demo.contract",
    "saas": "sidecar.cli.demo.saas",
}
"""Route → the module whose `run(DemoEnvironment)` shows it; the first is the default."""


def run(route: str) -> int:
    """Run one route of the demo. Returns 0 where every step had its expected result."""
    import signal
    import sys
    import tempfile
    from contextlib import ExitStack
    from importlib import import_module
    from pathlib import Path

    from sidecar.cli.demo.environment import DemoEnvironment, DemoFailed
    from sidecar.errors import Exit

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entitlement-sidecar-demo-")))
        demo = DemoEnvironment(directory, stack)
        try:
            import_module(ROUTES[route]).run(demo)
        except DemoFailed as exc:
            sys.stderr.write(f"\nThe demo went wrong: {exc}\n{demo.log_tails()}\n")
            return Exit.FAILED
    return Exit.OK
