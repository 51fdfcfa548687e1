"""Probes are answered at once whatever clients hold, and what they hold stays small."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.integration.server.attacks import ATTACKS, attacked, counter
from tests.integration.server.servers import eventually, server

TRIES = 20
MEDIAN_SECONDS_MAX = 0.020
WORST_SECONDS_MAX = 0.250
FLOODED_SECONDS_MAX = 3.0
"""On the flooded listener itself, where whole requests are served in the order they came."""
GROWTH_KIB_MAX = 8 * 1024


@pytest.mark.slow  # it measures time, which other tests beside it would spend
@pytest.mark.parametrize("listener", ["probe", "api"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_probes_are_answered_at_once_under(attack: str, listener: str) -> None:
    with server() as running:
        for name in ("probe", "api"):
            running.probe_seconds(name)
        before = running.resident_kib()
        with attacked(running, attack, listener):
            asked = [(name, running.probe_seconds(name)) for _ in range(TRIES) for name in ("probe", "api")]
            grown = running.resident_kib() - before
        flooded = listener if attack.startswith("flood") else None
        times = [seconds for name, seconds in asked if name != flooded]
        assert max(seconds for _, seconds in asked) <= FLOODED_SECONDS_MAX
        assert statistics.median(times) <= MEDIAN_SECONDS_MAX
        assert max(times) <= WORST_SECONDS_MAX
        assert grown < GROWTH_KIB_MAX
        assert counter(running, "unexpected") == 0


def test_an_attack_on_one_listener_takes_no_connection_of_the_other() -> None:
    with server() as running, running.connect("api") as kept, attacked(running, "silent_connections", "probe"):
        kept.sendall(b"GET /entitled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert kept.recv(15) == b"HTTP/1.1 200 OK"


def test_when_the_attackers_leave_their_connections_are_gone(tmp_path: Path) -> None:
    with server() as running:
        with attacked(running, "half_sent_heads", "api"):
            eventually(lambda: counter(running, "open", "api") == 64)
        eventually(lambda: counter(running, "open", "api") == 0)
