"""While authorities rotate no connection fails, though the API server and an injector hear of each change late."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.injector.rotation import OwnAuthority
from sidecar.injector.server import InjectorServer
from tests.integration.injector.test_rotation import TIMES, InjectorApi, at, injector
from tests.integration.injector.test_server import ASKS, Client, authority, context, question
from tests.unit.injector.test_pod import document

STEP = 3
ROTATIONS = 2
LATE = TIMES.settle - timedelta(seconds=STEP)
"""So late the API server uses what the webhook configuration says."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[InjectorApi]:
    with InjectorApi(tmp_path) as found:
        yield found


@pytest.fixture
def both(api: InjectorApi, tmp_path: Path) -> Iterator[list[tuple[OwnAuthority, InjectorServer]]]:
    """Two injectors, listening; each with the certificate of its first pass."""
    pieces, first = document(tmp_path), context(authority())
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            keeper = injector(api)
            server = stack.enter_context(InjectorServer(0, pieces, "gate", first, lambda: True))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            stack.callback(server.shutdown)
            found.append((keeper, server))
            renew(keeper, server, 0)
        yield found


def renew(keeper: OwnAuthority, server: InjectorServer, seconds: int) -> None:
    made = keeper.renew(at(seconds))
    if made is not None:
        server.use(made)


def test_no_request_fails_while_authorities_rotate(
    api: InjectorApi, both: list[tuple[OwnAuthority, InjectorServer]]
) -> None:
    heard = deque([api.trusted], maxlen=LATE // timedelta(seconds=STEP) + 1)
    kept = [Client(server, api.trusted) for _, server in both]
    seen = set()
    for at_step in range(ROTATIONS * int(TIMES.rotate.total_seconds()) // STEP):
        keeper, server = both[at_step % 2]  # each hears of the other's change one step late
        renew(keeper, server, at_step * STEP)
        heard.append(api.trusted)
        seen.add(api.trusted)
        for _, server in both:
            assert Client(server, heard[0]).ask("POST", "/inject", question(**ASKS)).status == 200
            assert Client(server, heard[-1]).ask("GET", "/healthz").status == 200
    assert len(seen) > 2 * (ROTATIONS - 1)
    assert all(client.ask("POST", "/inject", question(**ASKS)).status == 200 for client in kept)
