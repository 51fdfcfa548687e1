"""Hand out ports that no other test process uses.

Invariants:
- A process claims a block of ports before it uses one; the kernel takes the claim back when the process ends, also when
  it is killed. So processes of one run, and runs beside each other, share no port.
- The blocks lie below the range from which the kernel gives ports to outgoing connections
  (`/proc/sys/net/ipv4/ip_local_port_range`, 32768 to 60999 unless changed).
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from functools import cache

import pytest

FIRST, LAST, BLOCK = 12_000, 32_000, 400


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nothing listens on, and that no other test process will be given."""
    return next(port for port in _ports() if _is_free(host, port))


@cache
def _claim() -> tuple[socket.socket, int]:
    """Claim the first block that is left, by a name that exists once on this machine."""
    for first in range(FIRST, LAST, BLOCK):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0entitlement-sidecar-test-ports-{first}")
        except OSError:
            claim.close()
        else:
            return claim, first
    raise RuntimeError("other test processes have claimed every block of ports")


@cache
def _ports() -> Iterator[int]:
    """The ports of the block, round and round: one that is given again was given long ago."""
    _, first = _claim()
    return itertools.cycle(range(first, first + BLOCK))


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, port))
        except OSError:
            return False
        return True


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
