"""Write what has been metered as AWS reports it: CloudTrail events, and lines of the seller's Daily Usage feed.

Invariants:
- An event for each record, with the quantity in the field it came in; the repeated requests that AWS answers with the
  same record id are left out.
- The feed has no account, only a hash of it, and quantities with two decimal places: what is below is cut.

Sources: AWS Marketplace API Reference, "Logging AWS Marketplace Metering API calls with AWS CloudTrail"; AWS
Marketplace seller guide, "Daily Usage data feed".
"""

from __future__ import annotations

import csv
import hashlib
import io
import uuid
from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from sidecar.emulator.records import UsageRecord, added

COLUMNS: Final = (
    "valid_from",
    "insert_date",
    "update_date",
    "delete_date",
    "usage_feed_id",
    "usage_date",
    "product_id",
    "end_user_account_id",
    "region",
    "dimension_key",
    "usage_unit",
    "usage_quantity",
)
HUNDREDTH: Final = Decimal("0.01")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def cloudtrail(records: Iterable[UsageRecord], region: str) -> dict[str, object]:
    """Return a CloudTrail log file of the MeterUsage calls that made these records."""
    return {"Records": [_event(record, region) for record in records]}


def daily_usage(records: Iterable[UsageRecord], region: str) -> str:
    """Return the Daily Usage feed of these records, as CSV."""
    days: dict[tuple[str, str, str, str], list[Decimal]] = {}
    for record in records:
        slot = record.slot
        key = (f"{slot.hour:%Y-%m-%d}", slot.product_code, record.account, slot.dimension)
        days.setdefault(key, []).append(record.quantity)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for key, quantities in sorted(days.items()):
        writer.writerow(_line(*key, region, added(quantities)))
    return text.getvalue()


def _event(record: UsageRecord, region: str) -> dict[str, object]:
    quantity: dict[str, object] = {"usageQuantity": int(record.quantity)}
    if record.is_decimal:
        quantity = {"usageQuantityAsDecimal": str(record.quantity)}
    return {
        "eventVersion": "1.08",
        "userIdentity": {"type": "AssumedRole", "accountId": record.account},
        "eventTime": f"{record.at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "metering-marketplace.amazonaws.com",
        "eventName": "MeterUsage",
        "awsRegion": region,
        "requestParameters": {
            "productCode": record.slot.product_code,
            "timestamp": _time(record.timestamp),
            "usageDimension": record.slot.dimension,
            **quantity,
        },
        "responseElements": {"meteringRecordId": record.record_id},
        "eventID": str(uuid.uuid5(uuid.NAMESPACE_OID, record.record_id)),
        "eventType": "AwsApiCall",
        "recipientAccountId": record.account,
    }


def _time(instant: datetime) -> str:
    """Return an instant as CloudTrail writes it in request parameters: `Jul 23, 2020 1:35:44 AM`."""
    hour = instant.hour % 12 or 12
    half = "AM" if instant.hour < 12 else "PM"
    return f"{MONTHS[instant.month - 1]} {instant.day}, {instant.year} {hour}:{instant:%M:%S} {half}"


def _line(day: str, product: str, account: str, dimension: str, region: str, quantity: Decimal) -> list[str]:
    hashed = hashlib.sha256(f"emulator:{account}".encode()).hexdigest()
    name = hashlib.sha256("\x1f".join((day, product, account, dimension, region)).encode()).hexdigest()
    midnight = f"{day}T00:00:00Z"
    amount = str(quantity.quantize(HUNDREDTH, ROUND_FLOOR))
    return [midnight, midnight, midnight, "", name, day, product, hashed, region, dimension, "Units", amount]
