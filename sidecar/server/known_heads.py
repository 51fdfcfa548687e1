"""Remember what heads of requests say: h11 takes longer to read one than the sidecar takes to answer it.

Invariants:
- A head is known byte for byte. What it says follows from its bytes alone; each connection judges for itself whether it
  is served.
- One that frames its body by chunks is not remembered, since h11 reads the chunks too, nor is one with credentials.
"""

from __future__ import annotations

from typing import Final

import h11

from sidecar.server.head import RequestHead, read_head
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Limits

HEADS_MAX: Final = 16
"""Heads remembered for each listener: a kubelet has one for each probe."""
HEAD_BYTES_MAX: Final = 512
CREDENTIALS: Final = ("AUTHORIZATION", "PROXY-AUTHORIZATION", "COOKIE")


class KnownHeads:
    """What the last new heads of one listener said."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heads: dict[bytes, RequestHead] = {}

    def read(self, data: bytes) -> tuple[RequestHead, h11.Connection | None] | HttpError:
        """Return what a head says, or why it is refused. `data`: with its empty line.

        The h11 connection, which reads a body in chunks, comes with a head that had to be parsed.
        """
        known = self._heads.get(data)
        if known is not None:
            return known, None
        found = read_head(data, self._limits)
        if not isinstance(found, HttpError) and len(data) <= HEAD_BYTES_MAX:
            self._remember(data, found[0])
        return found

    def _remember(self, data: bytes, head: RequestHead) -> None:
        if head.chunked or any(name in CREDENTIALS for name, _ in head.headers):
            return
        if len(self._heads) >= HEADS_MAX:
            del self._heads[next(iter(self._heads))]
        self._heads[data] = head
