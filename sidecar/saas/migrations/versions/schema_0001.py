"""Make the first schema.

Invariants:
- What was released is never changed: a later schema is another file.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TRUTH: Final = sa.Boolean().with_variant(sa.Integer(), "sqlite")
STRICT: Final = {"sqlite_strict": True}
KEYED: Final = {**STRICT, "sqlite_with_rowid": False}


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "saas_attempt",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("client_token", sa.Text(), nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="The audit trail of what was sent and answered.",
        **STRICT,
    )
    op.create_index("saas_attempt_at", "saas_attempt", ["at"])
    op.create_index("saas_attempt_of_record", "saas_attempt", ["customer", "dimension", "hour"])
    op.create_table(
        "saas_bucket",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("tag_set", sa.LargeBinary(), nullable=False, comment="digest of tags"),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("events", NUMBER, nullable=False),
        sa.Column("sum", NUMBER, nullable=False),
        sa.Column("max", NUMBER, nullable=False),
        sa.Column("last", NUMBER, nullable=False),
        sa.Column("last_at", NUMBER, nullable=False),
        sa.CheckConstraint("sum >= 0", name="saas_bucket_sum"),
        sa.PrimaryKeyConstraint("customer", "dimension", "hour", "aggregation", "tag_set"),
        comment="What came in for an hour that is not sealed, in micros.",
        **KEYED,
    )
    op.create_index("saas_bucket_hour", "saas_bucket", ["hour"])
    op.create_table(
        "saas_customer",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="whom AWS bills"),
        sa.Column("product_code", sa.Text(), nullable=False),
        sa.Column("aws_account_id", sa.Text(), nullable=False),
        sa.Column("license_arn", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("agreement_id", sa.Text(), nullable=False),
        sa.Column("resolved_at", NUMBER, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NUMBER, nullable=False),
        sa.Column("closed_at", NUMBER, nullable=True, comment="since when no usage is taken"),
        sa.Column(
            "open_from", sa.Integer(), nullable=False, comment="its first hour that is not closed, where that is later"
        ),
        sa.CheckConstraint("state IN ('active', 'ending', 'ended')", name="saas_customer_state"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="saas_customer_key"),
        comment="Customers as ResolveCustomer named them.",
        **STRICT,
    )
    op.create_index("saas_customer_account", "saas_customer", ["aws_account_id"])
    op.create_index("saas_customer_identifier", "saas_customer", ["identifier"])
    op.create_index("saas_customer_license", "saas_customer", ["license_arn"])
    op.create_table(
        "saas_event_id",
        sa.Column("id", sa.LargeBinary(), nullable=False, comment="digest of customer and id"),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="digest of what was sent"),
        sa.Column("hour", sa.Integer(), nullable=False, comment="when it came"),
        sa.PrimaryKeyConstraint("id"),
        comment="Ids of events that were counted, for at least 24 hours.",
        **KEYED,
    )
    op.create_index("saas_event_id_hour", "saas_event_id", ["hour"])
    op.create_table(
        "saas_late",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("from_hour", sa.Integer(), nullable=False),
        sa.Column("events", NUMBER, nullable=False),
        sa.Column("sum", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("customer", "dimension", "hour", "from_hour"),
        comment="Which usage of an hour came too late for its own: the link to its origin.",
        **KEYED,
    )
    op.create_table(
        "saas_pushed",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("events", NUMBER, nullable=False),
        sa.Column("units", NUMBER, nullable=False),
        sa.Column("micros", NUMBER, nullable=False, comment="beside the units; of sums alone"),
        sa.PrimaryKeyConstraint("customer", "dimension"),
        comment="What was acknowledged, for ever: counted apart from the buckets, and compared with them.",
        **KEYED,
    )
    op.create_table(
        "saas_request",
        sa.Column("client_token", sa.Text(), nullable=False),
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("sealed_at", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("client_token"),
        comment="Each request that was ever made for a record, as it goes to AWS. Never changed.",
        **KEYED,
    )
    op.create_index("saas_request_of_record", "saas_request", ["customer", "dimension", "hour"])
    op.create_table(
        "saas_rolled",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.Column("from_hour", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("rolled_at", NUMBER, nullable=False),
        sa.Column("into_hour", sa.Integer(), nullable=True, comment="null while it waits"),
        sa.Column("tag_set", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("customer", "dimension", "from_hour", "why", "tag_set", name="saas_rolled_once"),
        comment="Quantities of records that missed their hour and are counted in a later one.",
        **STRICT,
    )
    op.create_index("saas_rolled_into", "saas_rolled", ["into_hour"])
    op.create_table(
        "saas_service",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "open_from", sa.Integer(), nullable=False, comment="the first hour that is not closed for every customer"
        ),
        sa.Column("epoch", NUMBER, nullable=False, comment="how often a replica began to lead"),
        sa.Column("leader", sa.Text(), nullable=False, comment="the replica that leads or led last"),
        sa.Column("led_since", NUMBER, nullable=False),
        sa.Column("opened_at", NUMBER, nullable=False),
        sa.CheckConstraint("one = 1", name="saas_service_one"),
        sa.PrimaryKeyConstraint("one"),
        comment="One row: which hours are closed, and who leads.",
        **STRICT,
    )
    op.create_table(
        "saas_unique_key",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("customer", "dimension", "hour", "key"),
        comment="The distinct keys of an hour that is not sealed.",
        **KEYED,
    )
    op.create_table(
        "saas_total",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("scale", sa.Text(), nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False, comment="micros that left the buckets of sums"),
        sa.Column("accepted", sa.Text(), nullable=False),
        sa.Column("settled", sa.Text(), nullable=False),
        sa.Column("carry", sa.Text(), nullable=False),
        sa.Column("more", TRUTH, nullable=False, comment="the carry makes a record"),
        sa.Column("merged", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["customer"],
            ["saas_customer.id"],
        ),
        sa.PrimaryKeyConstraint("customer", "dimension"),
        comment="What was sealed and settled, for ever, scaled; written by the leader alone.",
        **KEYED,
    )
    op.create_table(
        "saas_usage_record",
        sa.Column("customer", NUMBER, nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("client_token", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("definite", TRUTH, nullable=False),
        sa.Column(
            "sending_at", NUMBER, nullable=True, comment="set before the request leaves, until its outcome is kept"
        ),
        sa.Column("sending_epoch", NUMBER, nullable=True),
        sa.Column("retry_at", NUMBER, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("record_id", sa.Text(), nullable=True),
        sa.Column("rolled_to", sa.Integer(), nullable=True),
        sa.Column("repairs", sa.Text(), nullable=False),
        sa.Column("aws_quantity", sa.Text(), nullable=True, comment="what AWS billed, where a person accepted that"),
        sa.Column("sealed_at", NUMBER, nullable=False),
        sa.Column("changed_at", NUMBER, nullable=False),
        sa.CheckConstraint(
            "state IN ('sealed', 'settled', 'disputed', 'expired', 'rejected', 'rolled_forward')",
            name="saas_usage_record_state",
        ),
        sa.ForeignKeyConstraint(
            ["client_token"],
            ["saas_request.client_token"],
        ),
        sa.ForeignKeyConstraint(
            ["customer"],
            ["saas_customer.id"],
        ),
        sa.PrimaryKeyConstraint("customer", "dimension", "hour"),
        comment="What a customer owes for an hour and dimension.",
        **KEYED,
    )
    op.create_index("saas_usage_record_due", "saas_usage_record", ["state", "retry_at"])
    op.create_index("saas_usage_record_hour", "saas_usage_record", ["hour"])
