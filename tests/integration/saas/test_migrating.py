"""The database is brought to this version's schema, once; a newer one is refused and left as it is."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from sidecar.saas import migrating
from sidecar.saas.database import Database
from sidecar.saas.sql_store import open_store
from sidecar.saas.store import StoreError
from sidecar.saas.tables import metadata
from tests import postgresql
from tests.integration.saas.support import DIMENSIONS, NOON


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
