"""Tell Alembic which connection to use, or which dialect to print for. Alembic runs this file."""

from __future__ import annotations

from alembic import context

VERSION_TABLE = "saas_schema"

if context.is_offline_mode():
    context.configure(
        dialect_name=context.config.attributes["dialect"], version_table=VERSION_TABLE, literal_binds=True
    )
else:
    context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
