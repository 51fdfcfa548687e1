"""The database is brought to this version's schema, once; a newer one is refused and left as it is."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select

from sidecar.metering import hour_bounds
from sidecar.metering.events import PushAccepted, key_digest
from sidecar.saas import customer_rows, migrating, sealing
from sidecar.saas.database import Database
from sidecar.saas.instants import tag_set
from sidecar.saas.sql_store import open_store
from sidecar.saas.store import StoreError
from sidecar.saas.tables import bucket, metadata, pushed, unique_key
from sidecar.saas.tables import customer as customer_table
from tests import postgresql
from tests.integration.saas.support import DIMENSIONS, HOUR, NOON, UNIT, a_store, customer, used


def test_the_migrations_make_the_tables_that_the_code_names(url: str) -> None:
    database = Database(url)
    migrating.migrate(database)
    options = {"version_table": migrating.VERSION_TABLE}
    differences = database.run(
        lambda connection: compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    )
    database.close()
    assert differences == []


def test_a_newer_schema_is_refused_and_left_as_it_is(url: str) -> None:
    open_store(url, DIMENSIONS, NOON).close()
    database = Database(url)
    database.run(lambda one: one.exec_driver_sql("UPDATE saas_schema SET version_num = '9999'") and None)
    database.close()
    with pytest.raises(StoreError, match=r"9999.*newer version"):
        open_store(url, DIMENSIONS, NOON)
    database = Database(url)
    heads = database.run(lambda one: one.exec_driver_sql("SELECT version_num FROM saas_schema").scalar())
    database.close()
    assert heads == "9999"


def test_what_is_printed_makes_the_schema_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "saas.db"
    connection = sqlite3.connect(file)
    connection.executescript(migrating.sql("sqlite"))
    connection.close()
    open_store(f"sqlite:///{file}", DIMENSIONS, NOON).close()


def made_by_the_version_before(url: str) -> None:
    """Make the first schema, with usage of an hour that is open."""

    def work(connection: Connection) -> None:
        config = migrating._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        sealing.begin(connection, NOON)
        customer_rows.keep(connection, customer())
        number = connection.execute(select(customer_table.c.id)).scalar_one()
        place = {"customer": number, "hour": HOUR.number}
        sums = {"aggregation": "sum", "events": 1, "sum": UNIT, "max": UNIT, "last": UNIT, "last_at": 0}
        for tags in ("[]", '[["team","t0"]]', '[["team","t1"]]'):
            row = {"dimension": "gigabytes", "tags": tags, "tag_set": tag_set(tags)}
            connection.execute(insert(bucket), {**place, **sums, **row})
        totals = {"customer": number, "dimension": "gigabytes", "events": 3, "units": 3, "micros": 0}
        connection.execute(insert(pushed), totals)
        for key in ("u0", "u1"):
            connection.execute(insert(unique_key), {**place, "dimension": "users", "key": key_digest(key)})
        row = {"dimension": "users", "aggregation": "unique", "tags": "[]", "tag_set": tag_set("[]")}
        connection.execute(insert(bucket), {**place, **sums, "sum": 0, **row})
        connection.execute(insert(pushed), {**totals, "dimension": "users", "events": 2, "units": 0})

    database = Database(url)
    database.run(work)
    database.close()


def counted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect that the hour has two tag sets and two keys, and room for one more of each."""
    monkeypatch.setattr(hour_bounds, "TAG_SETS_MAX", 3)
    monkeypatch.setattr(hour_bounds, "KEYS_MAX", 3)
    with a_store(url) as store:
        for number, taken in ((0, True), (2, True), (3, False), (1, True)):
            tagged = used(1, "gigabytes", tags=(("team", f"t{number}"),))
            for event in (tagged, used(0, "users", key=f"u{number}")):
                assert isinstance(store.accept([event], NOON), PushAccepted) is taken


def test_usage_that_the_version_before_kept_is_counted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made_by_the_version_before(url)
    counted(url, monkeypatch)


def test_what_is_printed_brings_the_version_before_to_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'saas.db'}"
    made_by_the_version_before(url)
    connection = sqlite3.connect(tmp_path / "saas.db")
    connection.executescript(migrating.sql("sqlite", "0001"))
    connection.close()
    monkeypatch.setattr(migrating, "_upgrade", None)
    counted(url, monkeypatch)


@pytest.mark.slow
def test_what_is_printed_brings_postgresql_to_the_newest(
    server: postgresql.Server, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_the_version_before(postgresql_url)
    schema = postgresql_url.rpartition("%3D")[2]
    server.run_sql(f"CREATE ROLE r{schema} LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO r{schema}")
    grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO r{schema}"
    server.run_sql(grant)
    limited = postgresql_url.replace(f"//{postgresql.USER}@", f"//r{schema}@")
    with pytest.raises(StoreError, match="--from 0001"):
        open_store(limited, DIMENSIONS, NOON)
    server.run_sql(f"SET search_path = {schema}; {migrating.sql('postgresql', '0001')}", grant)
    server.run_sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO r{schema}")
    counted(limited, monkeypatch)


@pytest.mark.slow
def test_replicas_that_start_together_migrate_once(postgresql_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: open_store(postgresql_url, DIMENSIONS, NOON), range(4)))
    for store in stores:
        store.close()


@pytest.mark.slow
def test_a_user_without_rights_starts_on_tables_that_another_made(
    server: postgresql.Server, postgresql_url: str
) -> None:
    schema = postgresql_url.rpartition("%3D")[2]
    server.run_sql(f"CREATE ROLE r{schema} LOGIN")
    server.run_sql(f"GRANT USAGE ON SCHEMA {schema} TO r{schema}")
    limited = postgresql_url.replace(f"//{postgresql.USER}@", f"//r{schema}@")
    with pytest.raises(StoreError, match="saas migrate") as refused:
        open_store(limited, DIMENSIONS, NOON)
    assert refused.value.reason == "database_not_migrated"
    server.run_sql(f"SET search_path = {schema}; {migrating.sql('postgresql')}")
    grants = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO r{schema}"
    server.run_sql(grants, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO r{schema}")
    open_store(limited, DIMENSIONS, NOON).close()
