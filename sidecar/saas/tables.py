"""Define the tables of the SaaS service's state, for SQLite and PostgreSQL alike.

`migrations` makes them; a test compares the two.

Invariants:
- The keys are AWS's rules: one record for a customer, dimension and hour.
- Amounts are exact: integers of micros, or decimals as plain text, which only the core adds up.
- Instants are integers: microseconds since the epoch, in UTC. An hour is its number since the epoch.
- Every name begins with `saas_`: the database may be the product's own.

Sources: AWS Marketplace Metering API Reference, BatchMeterUsage.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData()
NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")
"""64 bits on both; SQLite numbers rows of this type alone by itself."""
STRICT: Final[dict[str, Any]] = {"sqlite_strict": True}
KEYED: Final[dict[str, Any]] = {**STRICT, "sqlite_with_rowid": False}
"""For SQLite: STRICT refuses a sum that has left 64 bits, and the key is the table."""

service: Final = Table(
    "saas_service",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("open_from", Integer, nullable=False, comment="the first hour that is not closed for every customer"),
    Column("epoch", NUMBER, nullable=False, comment="how often a replica began to lead"),
    Column("leader", Text, nullable=False, comment="the replica that leads or led last"),
    Column("led_since", NUMBER, nullable=False),
    Column("opened_at", NUMBER, nullable=False),
    CheckConstraint("one = 1", name="saas_service_one"),
    comment="One row: which hours are closed, and who leads.",
    **STRICT,
)

customer: Final = Table(
    "saas_customer",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("key", Text, nullable=False, comment="whom AWS bills"),
    Column("product_code", Text, nullable=False),
    Column("aws_account_id", Text, nullable=False),
    Column("license_arn", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("agreement_id", Text, nullable=False),
    Column("resolved_at", NUMBER, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_since", NUMBER, nullable=False),
    Column("closed_at", NUMBER, comment="since when no usage is taken"),
    Column("open_from", Integer, nullable=False, comment="its first hour that is not closed, where that is later"),
    UniqueConstraint("key", name="saas_customer_key"),
    CheckConstraint("state IN ('active', 'ending', 'ended')", name="saas_customer_state"),
    Index("saas_customer_license", "license_arn"),
    Index("saas_customer_account", "aws_account_id"),
    Index("saas_customer_identifier", "identifier"),
    comment="Customers as ResolveCustomer named them.",
    **STRICT,
)

event_id: Final = Table(
    "saas_event_id",
    metadata,
    Column("id", LargeBinary, primary_key=True, comment="digest of customer and id"),
    Column("content", LargeBinary, nullable=False, comment="digest of what was sent"),
    Column("hour", Integer, nullable=False, comment="when it came"),
    Index("saas_event_id_hour", "hour"),
    comment="Ids of events that were counted, for at least 24 hours.",
    **KEYED,
)

bucket: Final = Table(
    "saas_bucket",
    metadata,
    Column("customer", NUMBER, primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("aggregation", Text, primary_key=True),
    Column("tag_set", LargeBinary, primary_key=True, comment="digest of tags"),
    Column("tags", Text, nullable=False),
    Column("events", NUMBER, nullable=False),
    Column("sum", NUMBER, nullable=False),
    Column("max", NUMBER, nullable=False),
    Column("last", NUMBER, nullable=False),
    Column("last_at", NUMBER, nullable=False),
    CheckConstraint("sum >= 0", name="saas_bucket_sum"),
    Index("saas_bucket_hour", "hour"),
    comment="What came in for an hour that is not sealed, in micros.",
    **KEYED,
)

unique_key: Final = Table(
    "saas_unique_key",
    metadata,
    Column("customer", NUMBER, primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    comment="The distinct keys of an hour that is not sealed.",
    **KEYED,
)

hour_count: Final = Table(
    "saas_hour_count",
    metadata,
    Column("customer", NUMBER, primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("tag_sets", NUMBER, nullable=False),
    Column("unique_keys", NUMBER, nullable=False),
    comment="How many tag sets and distinct keys an hour that is not sealed has: a push is bounded by them.",
    **KEYED,
)

late: Final = Table(
    "saas_late",
    metadata,
    Column("customer", NUMBER, primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("from_hour", Integer, primary_key=True),
    Column("events", NUMBER, nullable=False),
    Column("sum", NUMBER, nullable=False),
    comment="Which usage of an hour came too late for its own: the link to its origin.",
    **KEYED,
)

pushed: Final = Table(
    "saas_pushed",
    metadata,
    Column("customer", NUMBER, primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("events", NUMBER, nullable=False),
    Column("units", NUMBER, nullable=False),
    Column("micros", NUMBER, nullable=False, comment="beside the units; of sums alone"),
    comment="What was acknowledged, for ever: counted apart from the buckets, and compared with them.",
    **KEYED,
)

total: Final = Table(
    "saas_total",
    metadata,
    Column("customer", NUMBER, ForeignKey("saas_customer.id"), primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("scale", Text, nullable=False),
    Column("decimals", Integer, nullable=False),
    Column("sealed", Text, nullable=False, comment="micros that left the buckets of sums"),
    Column("accepted", Text, nullable=False),
    Column("settled", Text, nullable=False),
    Column("carry", Text, nullable=False),
    Column("more", Boolean().with_variant(Integer, "sqlite"), nullable=False, comment="the carry makes a record"),
    Column("merged", NUMBER, nullable=False),
    comment="What was sealed and settled, for ever, scaled; written by the leader alone.",
    **KEYED,
)

rolled: Final = Table(
    "saas_rolled",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("customer", NUMBER, nullable=False),
    Column("dimension", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("from_hour", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("rolled_at", NUMBER, nullable=False),
    Column("into_hour", Integer, comment="null while it waits"),
    Column("tag_set", LargeBinary, nullable=False),
    UniqueConstraint("customer", "dimension", "from_hour", "why", "tag_set", name="saas_rolled_once"),
    Index("saas_rolled_into", "into_hour"),
    comment="Quantities of records that missed their hour and are counted in a later one.",
    **STRICT,
)

request: Final = Table(
    "saas_request",
    metadata,
    Column("client_token", Text, primary_key=True),
    Column("customer", NUMBER, nullable=False),
    Column("dimension", Text, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("sealed_at", NUMBER, nullable=False),
    Index("saas_request_of_record", "customer", "dimension", "hour"),
    comment="Each request that was ever made for a record, as it goes to AWS. Never changed.",
    **KEYED,
)

usage_record: Final = Table(
    "saas_usage_record",
    metadata,
    Column("customer", NUMBER, ForeignKey("saas_customer.id"), primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("client_token", Text, ForeignKey("saas_request.client_token"), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("definite", Boolean().with_variant(Integer, "sqlite"), nullable=False),
    Column("sending_at", NUMBER, comment="set before the request leaves, until its outcome is kept"),
    Column("sending_epoch", NUMBER),
    Column("retry_at", NUMBER),
    Column("last_error", Text),
    Column("record_id", Text),
    Column("rolled_to", Integer),
    Column("repairs", Text, nullable=False),
    Column("aws_quantity", Text, comment="what AWS billed, where a person accepted that"),
    Column("sealed_at", NUMBER, nullable=False),
    Column("changed_at", NUMBER, nullable=False),
    CheckConstraint(
        "state IN ('sealed', 'settled', 'disputed', 'expired', 'rejected', 'rolled_forward')",
        name="saas_usage_record_state",
    ),
    Index("saas_usage_record_due", "state", "retry_at"),
    Index("saas_usage_record_hour", "hour"),
    comment="What a customer owes for an hour and dimension.",
    **KEYED,
)

attempt: Final = Table(
    "saas_attempt",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("customer", NUMBER, nullable=False),
    Column("dimension", Text, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("client_token", Text, nullable=False),
    Column("at", NUMBER, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("saas_attempt_of_record", "customer", "dimension", "hour"),
    Index("saas_attempt_at", "at"),
    comment="The audit trail of what was sent and answered.",
    **STRICT,
)
