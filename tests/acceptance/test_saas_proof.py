"""Replicas and the database are killed at random: AWS's bill is what was acknowledged, to the unit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests import postgresql
from tests.acceptance.saas_chaos import DIMENSIONS, FOLLOWED_SECONDS, Chaos, Replica, license_of
from tests.acceptance.support import PRODUCT, eventually

START = datetime(2026, 11, 20, 10, 20, tzinfo=UTC)
HOURS = 3

pytestmark = pytest.mark.slow


@pytest.fixture
def selling(keys: SigningKeys) -> Iterator[Emulator]:
    with Emulator(product_codes=(PRODUCT,), dimensions=DIMENSIONS, keys=keys, clock_start=START, clock_speed=0) as aws:
        yield aws


def proven(chaos: Chaos) -> None:
    """Let some hours pass, and compare the bill."""
    try:
        chaos.start()
        for _ in range(HOURS):
            chaos.hour()
        chaos.settle()
        assert chaos.billed() == chaos.owed()
        assert chaos.owed(), "nothing was pushed"
        assert sum(client.again for client in chaos.clients), "no push was repeated"
        assert chaos.kills["replica"]
        assert sum(chaos.kills.values()) >= 2 * HOURS
    except AssertionError as exc:
        logs = "\n".join(f"-- {one.log}\n{one.text()[-4000:]}" for one in chaos.replicas)
        raise AssertionError(f"{exc}\nkilled: {dict(chaos.kills)}\n{logs}") from None
    finally:
        chaos.end()


@pytest.mark.parametrize("seed", [1, 2])
def test_three_replicas_killed_with_their_database_bill_to_the_unit(
    selling: Emulator, tmp_path: Path, seed: int
) -> None:
    with postgresql.running() as server:
        chaos = Chaos(selling, tmp_path, seed, 3, server)
        proven(chaos)
        assert chaos.kills["database"]


@pytest.mark.parametrize("seed", [1, 2])
def test_one_replica_killed_on_sqlite_bills_to_the_unit(selling: Emulator, tmp_path: Path, seed: int) -> None:
    proven(Chaos(selling, tmp_path, seed, 1, None))


def test_a_killed_leader_is_followed_within_a_minute(selling: Emulator, tmp_path: Path) -> None:
    acme = {"license_arn": license_of(1)}
    selling.saas.define_customer(id="acme", account="111111111111", license=license_of(1))
    with postgresql.running() as server:
        places = [tmp_path / name for name in ("one", "two")]
        for place in places:
            place.mkdir()
        first, second = (Replica(selling, place, SIDECAR_DATABASE_URL=server.url()) for place in places)
        with first.start().ready() as leader, second as follower:
            eventually(lambda: follower.probe("/readyz")[0] == 200)
            leader.resolve(selling, "acme")
            for one in (leader, follower):
                assert one.use(acme, 3, id="a")[0] == 200
                assert one.use(acme, 2)[0] == 200
            status, refused = follower.ask("POST", "/v1/usage/retry", {})
            assert (status, refused["reason"]) == (503, "not_leading")
            leader.kill()
            killed = time.monotonic()
            selling.clock.set(now=START + timedelta(hours=1))
            eventually(lambda: follower.states() == {"settled": 1}, FOLLOWED_SECONDS)
            assert time.monotonic() - killed < FOLLOWED_SECONDS
        assert selling.saas.billed(START, license=license_of(1)) == {"requests": Decimal(7)}
