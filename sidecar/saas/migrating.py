"""Bring the database to this version's schema, or refuse it.

Invariants:
- One replica migrates at a time, in one transaction with the schema's number; the others wait and find it done.
- A newer schema is refused and left as it is: nothing is written before its number is read.
- A schema is only ever added to: replicas of the version before go on while new ones start.
- What a migration does can be printed, for a database whose tables another user makes.

Sources: Alembic, "Auto Generating Migrations", "Generating SQL Scripts (a.k.a. Offline Mode)".
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from sidecar.saas.database import Database, store_error
from sidecar.saas.leadership import SPACE
from sidecar.saas.store import StoreError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
VERSION_TABLE: Final = "saas_schema"
LOCK: Final = text("SELECT pg_advisory_xact_lock(:space, hashtext(current_schema() || '/migrate'))")


def migrate(database: Database) -> None:
    """Bring the database to the newest schema that this version knows. Raises StoreError."""
    if database.run(_is_newest):
        return
    try:
        database.run(_upgrade)
    except StoreError as exc:
        if exc.reason == "database_refused":
            raise store_error("database_not_migrated", f"{database.name}: this user may not make tables.") from exc
        raise


def sql(dialect: str) -> str:
    """Return the statements that make the newest schema from nothing; `dialect`: postgresql or sqlite."""
    printed = io.StringIO()
    config = _config(printed)
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return printed.getvalue()


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _is_newest(connection: Connection) -> bool:
    """Return whether there is nothing to do. Raises StoreError for a newer schema."""
    script = ScriptDirectory.from_config(_config())
    options = {"version_table": VERSION_TABLE}
    found = MigrationContext.configure(connection, opts=options).get_current_heads()
    known = {one.revision for one in script.walk_revisions()}
    if not set(found) <= known:
        raise store_error("database_newer_schema", f"Its schema is {', '.join(sorted(found))}.")
    return set(found) == set(script.get_heads())


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(LOCK, {"space": SPACE})
    if _is_newest(connection):
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
