"""One replica leads; one that has lost its turn writes and sends nothing more; a killed database loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.metering.events import PushAccepted
from sidecar.saas.database import Database
from sidecar.saas.leadership import SENDING
from sidecar.saas.sql_store import open_store
from sidecar.saas.store import LeadershipLost, StoreError
from tests import postgresql
from tests.integration.saas.support import (
    DIMENSIONS,
    HOUR,
    NOON,
    a_store,
    accepted,
    answered,
    balance,
    customer,
    make,
    seal,
    used,
)


def test_without_the_lead_nothing_is_sealed_sent_or_kept(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        with pytest.raises(LeadershipLost):
            store.seal(HOUR, HOUR.end, make)
        seal(store)
        (record,) = store.due(HOUR.end)
        with pytest.raises(LeadershipLost):
            store.mark_sending([record], HOUR.end)
        with pytest.raises(LeadershipLost):
            store.save([answered(record)], HOUR.end)
        assert store.due(HOUR.end) == (record,)


def test_a_second_process_on_one_file_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'saas.db'}"
    with a_store(url), pytest.raises(StoreError, match="Another process has this file") as refused:
        open_store(url, DIMENSIONS, NOON)
    assert refused.value.reason == "database_locked"
    open_store(url, DIMENSIONS, NOON).close()


@pytest.mark.parametrize(
    "url",
    ["mysql://u:secret@h/d", "postgresql://u:secret@h:x/d", "sqlite://", "sqlite:///:memory:", "secret", ""],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        Database(url)
    assert refused.value.reason == "database_url_malformed"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:secret@h/d?nonsense=secret", '"nonsense"'),
        ("postgresql://u:secret@h/d?autocommit=true", '"autocommit"'),
        ("postgresql://u:secret@h/d?sslmode=disable&sslmode=require", '"sslmode"'),
        ("sqlite:////nowhere/saas.db?mode=ro", '"mode"'),
    ],
)
def test_an_option_that_is_none_is_named(url: str, named: str) -> None:
    with pytest.raises(StoreError, match=named) as refused:
        Database(url)
    assert refused.value.reason == "database_url_malformed"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "named"),
    [("sslmode=all", "sslmode"), ("connect_timeout=soon", "connect_timeout"), ("port=99999", "port")],
)
def test_an_option_s_wrong_value_is_a_wrong_setting_and_named(tmp_path: Path, option: str, named: str) -> None:
    database = Database(f"postgresql://u:secret@/d?host={tmp_path}&{option}")
    with pytest.raises(StoreError, match=named) as refused:
        database.read(lambda _: None)
    assert refused.value.reason == "database_url_malformed"
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_no_wrong_setting(tmp_path: Path) -> None:
    database = Database(f"postgresql://u:secret@/d?host={tmp_path}&sslmode=prefer&options=-cwork_mem%3D1MB")
    with pytest.raises(StoreError) as refused:
        database.read(lambda _: None)
    assert refused.value.reason == "database_unreachable"


@pytest.mark.slow
def test_a_parameter_that_the_server_does_not_know_is_named(server: postgresql.Server) -> None:
    with pytest.raises(StoreError, match="nonsense") as refused:
        Database(server.url(nonsense="1")).read(lambda _: None)
    assert refused.value.reason == "database_url_malformed"


def test_a_missing_directory_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as refused:
        Database(f"sqlite:///{tmp_path / 'none' / 'saas.sqlite3'}")
    assert refused.value.reason == "database_directory_unusable"
    assert f"{tmp_path / 'none'}: No such file or directory. Make this directory" in str(refused.value.hint)


def test_a_password_is_in_no_name_and_no_error() -> None:
    database = Database("postgresql://u:secret@127.0.0.1:1/d?password=secret")
    with pytest.raises(StoreError) as refused:
        database.run(lambda connection: None)
    assert refused.value.reason == "database_unreachable"
    assert "secret" not in str(refused.value) + database.name
    database.close()


@pytest.mark.slow
def test_one_replica_leads_and_another_follows(postgresql_url: str) -> None:
    with a_store(postgresql_url) as one, a_store(postgresql_url) as two:
        with one.leader() as leads:
            assert leads
            assert one.summary().leading
            with two.leader() as also:
                assert not also
        with two.leader() as leads:
            assert leads


@pytest.mark.slow
def test_a_leader_that_lost_its_connection_sends_nothing_more(server: postgresql.Server, postgresql_url: str) -> None:
    with a_store(postgresql_url) as one, a_store(postgresql_url) as two:
        accepted(one, used(3))
        seal(one)
        with one.leader():
            (record,) = one.due(HOUR.end)
            one.mark_sending([record], HOUR.end)
            server.run_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND classid = 23205"
            )
            with two.leader() as leads:
                assert leads, "the lock ends with its connection"
                with pytest.raises(LeadershipLost):
                    one.mark_sending([record], HOUR.end)
                with pytest.raises(LeadershipLost):
                    one.save([answered(record)], HOUR.end)
                assert two.due(HOUR.end) == (), "the other may be sending it"
                (again,) = two.due(HOUR.end + SENDING)
                assert again.request == record.request
                assert not again.usage.definite
                two.mark_sending([again], HOUR.end + SENDING)
                two.save([answered(again)], HOUR.end + SENDING)
        assert balance(two).settled == Decimal(3)


@pytest.fixture
def own_server() -> Iterator[postgresql.Server]:
    with postgresql.running() as server:
        yield server


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_the_database_was_killed(own_server: postgresql.Server) -> None:
    """Pushes go on while it is away: they are refused, sent again with their ids, and counted once."""
    stores = [open_store(own_server.url(), DIMENSIONS, NOON) for _ in range(2)]
    stores[0].keep_customer(customer())
    wanted, acknowledged, refusals = 150, threading.Semaphore(0), []

    def push(number: int) -> None:
        for n in range(wanted):
            while True:
                result = stores[number].accept([used(1, id=f"{number}-{n}"), used(1, id=f"both-{n}")], NOON)
                if isinstance(result, PushAccepted):
                    break
                refusals.append(result.reason)
            acknowledged.release()

    threads = [threading.Thread(target=push, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        for _ in range(60):
            acknowledged.acquire()
        own_server.kill()
        own_server.start()
    for thread in threads:
        thread.join()
    assert balance(stores[0]).accepted == Decimal(3 * wanted)
    assert balance(stores[0]).balanced
    assert set(refusals) <= {"database_unreachable", "database_failed", "database_busy"}, set(refusals)
    for store in stores:
        store.close()
