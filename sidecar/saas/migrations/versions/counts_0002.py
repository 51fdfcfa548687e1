"""Count the tag sets and keys of each hour that is not sealed.

Invariants:
- What was released is never changed: a later schema is another file.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FILL: Final = """
INSERT INTO saas_hour_count (customer, dimension, hour, tag_sets, unique_keys)
SELECT customer, dimension, hour, sum(tag_sets), sum(unique_keys) FROM (
  SELECT customer, dimension, hour, count(*) AS tag_sets, 0 AS unique_keys
  FROM saas_bucket WHERE tags <> '[]' GROUP BY customer, dimension, hour
  UNION ALL
  SELECT customer, dimension, hour, 0, count(*)
  FROM saas_unique_key GROUP BY customer, dimension, hour
) AS counted GROUP BY customer, dimension, hour
"""


def upgrade() -> None:
    """Make the table of counts, and fill it from what is there."""
    op.create_table(
        "saas_hour_count",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("tag_sets", NUMBER, nullable=False),
        sa.Column("unique_keys", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("customer", "dimension", "hour"),
        comment="How many tag sets and distinct keys an hour that is not sealed has: a push is bounded by them.",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute(FILL)
