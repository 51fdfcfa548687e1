"""Keep the injector's certificate: make it, have it trusted, use it, rotate it.

Invariants:
- Each pass reads what all injectors share, and does the one thing that is missing; a pass that fails is repeated.
- A certificate is used only while the authority that signed it is among those that the webhook configuration trusts.
- Where passes fail for longer than a change settles, this injector goes on until others may have gone on without it:
  they do not replace its authority before that is due.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from sidecar import log
from sidecar.injector import authority, certificate
from sidecar.injector.authority import Authority, Times
from sidecar.injector.cluster import Cluster, ClusterError, Conflict

PASSES_A_SETTLING: Final = 4
PERIOD_MAX: Final = timedelta(seconds=15)
RETRY: Final = timedelta(seconds=1)
"""After a pass that failed."""


class Keeper(Protocol):
    """Keeps the certificate of a server."""

    def renew(self, now: datetime) -> ssl.SSLContext | None:
        """Return the TLS of connections from now on, or None where it stays. Raises ClusterError or OSError."""

    def pause(self) -> timedelta:
        """Return the time to the next pass."""

    def ready(self, now: datetime) -> bool:
        """Return whether the API server trusts us."""


class OwnAuthority:
    """The injectors are their own authority, kept in a Secret."""

    def __init__(self, cluster: Cluster, host: str, times: Times) -> None:
        self._cluster, self._host, self._times = cluster, host, times
        self._signer: Authority | None = None
        self._done_at: datetime | None = None

    def renew(self, now: datetime) -> ssl.SSLContext | None:
        published = self._published(now)
        self._publish(published)
        self._done_at = now
        signer = authority.signing(published, now, self._times)
        if signer == self._signer:
            return None
        context = certificate.server_context(*certificate.issue(signer, self._host))
        self._signer = signer
        log.event("certificate.replaced", host=self._host, authority_made_at=signer.made_at.isoformat())
        return context

    def pause(self) -> timedelta:
        return min(PERIOD_MAX, self._times.settle / PASSES_A_SETTLING)

    def ready(self, now: datetime) -> bool:
        if self._done_at is None or self._signer is None:
            return False
        return now < max(self._done_at, self._times.replaces(self._signer)) + self._times.settle

    def _published(self, now: datetime) -> tuple[Authority, ...]:
        secret, content = self._cluster.kept()
        known = tuple(one for one in authority.read(content) if certificate.usable(one))
        published = authority.renewed(known, now, self._times, certificate.make_authority)
        if published != known:
            self._cluster.keep(secret, authority.written(published))
        return published

    def _publish(self, published: tuple[Authority, ...]) -> None:
        wanted = authority.bundle(published)
        at, trusted = self._cluster.trusted()
        if trusted != wanted:
            self._cluster.trust(at, wanted)
            log.event("webhook.updated", authorities=len(published))


class Mounted:
    """Another program, such as cert-manager, makes the certificate and has it trusted; a volume brings it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: tuple[str, str] | None = None

    def renew(self, now: datetime) -> ssl.SSLContext | None:
        found = ((self._directory / "tls.crt").read_text(), (self._directory / "tls.key").read_text())
        if found == self._read:
            return None
        context = certificate.server_context(*found)
        self._read = found
        log.event("certificate.replaced", directory=str(self._directory))
        return context

    def pause(self) -> timedelta:
        return PERIOD_MAX

    def ready(self, now: datetime) -> bool:
        return self._read is not None


def keep(
    keeper: Keeper,
    use: Callable[[ssl.SSLContext], None],
    now: Callable[[], datetime],
    wait: Callable[[float], bool],
) -> None:
    """Make one pass after the other until `wait`, which takes seconds, says that it is over."""
    failing = False
    while True:
        pause = keeper.pause()
        try:
            context = keeper.renew(now())
            if context is not None:
                use(context)
            failing = False
        except Conflict:
            pause = RETRY
        except (ClusterError, OSError, ValueError) as exc:
            if not failing:
                log.error("certificate.held", hint=str(exc))
            failing, pause = True, RETRY
        if wait(pause.total_seconds()):
            return
