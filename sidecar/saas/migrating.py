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
            has = database.run(_revisions)
            since = f"Its schema is {has[0]}: add --from {has[0]}." if has else "It has no tables yet."
            raise store_error(
                "database_not_migrated", f"{database.name}: this user may not make tables. {since}"
            ) from exc
        raise


def revisions() -> tuple[str, ...]:
    """Return the name of each schema, the oldest first."""
    script = ScriptDirectory.from_config(_config())
    return tuple(reversed([one.revision for one in script.walk_revisions()]))


def sql(dialect: str, since: str | None = None) -> str:
    """Return the statements that make the newest schema, from nothing or from another one of `revisions`.

    `dialect`: postgresql or sqlite.
    """
    printed = io.StringIO()
    config = _config(printed)
    config.attributes["dialect"] = dialect
    command.upgrade(config, f"{since}:head" if since else "head", sql=True)
    return printed.getvalue()


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _is_newest(connection: Connection) -> bool:
    """Return whether there is nothing to do. Raises StoreError for a newer schema."""
    found, known = _revisions(connection), revisions()
    if not set(found) <= set(known):
        raise store_error("database_newer_schema", f"Its schema is {', '.join(sorted(found))}.")
    return found == known[-1:]


def _revisions(connection: Connection) -> tuple[str, ...]:
    """Return the schema that the database has; none: it has no tables."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(LOCK, {"space": SPACE})
    if _is_newest(connection):
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
