"""Is the cluster told anything? Puts the herald together, where a token for the cluster's API is mounted for us.

Rules kept here:
- Herald and notices are imported only then: a pod that did not ask for this pays nothing for it.
- A mount without what names the pod is said once; everything else works.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sidecar import log
from sidecar.billing.protocol import Metering
from sidecar.clock import Clock
from sidecar.platform.eks import API_MOUNT, api_access
from sidecar.restart_state import Board

if TYPE_CHECKING:
    from sidecar.gate.loop import Gatekeeper

LOOP: Final = "kubernetes"
"""The loop's name in `/healthz`, status and metrics."""


class Proclaiming(Protocol):
    """What the rest of the worker knows of it. Everything here returns at once."""

    @property
    def stopped_loop(self) -> str | None:
        """The loop's name, once it broke."""

    def start(self) -> None:
        """Begin."""

    def changed(self) -> None:
        """Something may be other than before."""

    def stop(self) -> None:
        """SIGTERM: tell what is not told yet."""

    def stopped(self) -> bool:
        """Whether that is done."""

    def status(self) -> Mapping[str, object] | None:
        """For `GET /v1/status`; None where nobody asked for this."""


class NoHerald:
    """A `Proclaiming` that does nothing, and is done at once."""

    stopped_loop: str | None = None

    def start(self) -> None: ...

    def changed(self) -> None: ...

    def stop(self) -> None: ...

    def stopped(self) -> bool:
        return True

    def status(self) -> Mapping[str, object] | None:
        return None


def herald(
    gatekeeper: Gatekeeper,
    metering: Metering,
    clock: Clock,
    shared: Board,
    env: Mapping[str, str] = os.environ,
    mount: Path = API_MOUNT,
) -> Proclaiming:
    """A herald where one is wanted and can work."""
    api = api_access(env, mount)
    if api is None:
        return NoHerald()
    if api.missing:
        hint = "Set them in the container: the pod's own through the downward API (fieldRef), as the chart does."
        log.error("kubernetes.unconfigured", missing=list(api.missing), hint=hint)
        return NoHerald()
    from sidecar.pod_status.changes import Seen, seen
    from sidecar.pod_status.reporter import Herald

    def look() -> Seen:
        overdue = metering.overdue_since is not None
        return seen(gatekeeper.standing, gatekeeper.report, metering.for_a_person, overdue)

    return Herald(api=api, look=look, clock=clock, shared=shared)
