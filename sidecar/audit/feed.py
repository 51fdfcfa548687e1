"""Define the lines of the Daily Usage data feed, and the names of its columns.

Invariants:
- A line is a revision: the newest revision of a usage counts, unless it was deleted.

Sources: AWS Marketplace seller guide, "Daily Usage data feed" (columns; quantities have at most two decimal places;
accounts are hashes, salted for each seller) and "Storage and structure of AWS Marketplace data feeds" (CSV, RFC 4180,
UTF-8; dates in UTC; `valid_from`, `update_date` and `delete_date` tell the history).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

COLUMNS: Final[Mapping[str, str]] = {
    "day": "usage_date",
    "region": "region",
    "dimension": "dimension_key",
    "quantity": "usage_quantity",
    "account": "end_user_account_id",
    "product": "product_id",
    "agreement": "agreement_id",
    "currency": "pricing_currency",
    "rate": "usage_rate_per_unit_in_pricing_currency",
    "usage": "usage_feed_id",
    "valid_from": "valid_from",
    "updated": "update_date",
    "deleted": "delete_date",
}
"""What we need of a line → AWS's name of the column."""
REQUIRED: Final = ("day", "region", "dimension", "quantity")
PLACES: Final = 2
"""Decimal places of a quantity in the feed."""


class FeedRow(NamedTuple):
    """A line of the feed."""

    usage: str
    """Names the usage of which this is a revision."""
    valid_from: str
    updated: str
    deleted: str
    day: str
    region: str
    dimension: str
    quantity: int
    """Micros; a correction may be negative."""
    account: str
    """Hashed by AWS."""
    product: str
    """Product id, as `prod-…`; not the product code."""
    agreement: str
    currency: str
    rate: str
    """Price of a unit, as text."""
