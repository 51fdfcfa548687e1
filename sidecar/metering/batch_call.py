"""Define what is sent in one BatchMeterUsage call, and what can come of it.

`marketplace.batch_meter_usage` makes the call, `batch_dispositions` says what a code means.

Invariants:
- A record is known again by its key: AWS promises no order of its answers. The key is AWS's own: customer, license,
  dimension and hour.
- A call names one product code, or none where its records name licenses.

Sources: AWS Marketplace API Reference, BatchMeterUsage, shapes UsageRecord, UsageRecordResult.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from sidecar.metering.outcomes import Refused, Unknown
from sidecar.quick_dataclasses import dataclass

Wire = Mapping[str, object]
"""A UsageRecord as it is sent: member → value, `Timestamp` in epoch seconds."""


class RecordStatus(Enum):
    """What AWS says of one record."""

    SUCCESS = "Success"
    NOT_SUBSCRIBED = "CustomerNotSubscribed"
    DUPLICATE = "DuplicateRecord"


class RecordKey(NamedTuple):
    """What makes two records one to AWS, within a product. Empty: not given."""

    account: str
    identifier: str
    license_arn: str
    dimension: str
    hour: int
    """Hours since the epoch: AWS rounds a timestamp down to the hour."""

    @classmethod
    def of(cls, record: Wire, epoch_seconds: int) -> RecordKey:
        """Return the key of a record, sent or echoed, with this timestamp."""
        return cls(
            account=str(record.get("CustomerAWSAccountId") or ""),
            identifier=str(record.get("CustomerIdentifier") or ""),
            license_arn=str(record.get("LicenseArn") or ""),
            dimension=str(record.get("Dimension") or ""),
            hour=epoch_seconds // 3600,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRequest:
    """The parameters of one call. Raises ValueError for a product code beside a license: it may bill twice."""

    product_code: str | None
    records: tuple[Wire, ...]

    def __post_init__(self) -> None:
        if self.product_code is not None and any("LicenseArn" in record for record in self.records):
            raise ValueError("a call with ProductCode has a record with LicenseArn; AWS may bill such an hour twice.")

    def as_wire(self) -> dict[str, object]:
        """Return BatchMeterUsage's parameters."""
        product = {} if self.product_code is None else {"ProductCode": self.product_code}
        return {**product, "UsageRecords": [dict(record) for record in self.records]}


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordAnswer:
    """What AWS says of one record."""

    key: RecordKey
    status: str
    """As AWS wrote it: one of `RecordStatus`, or a word it learned since."""
    record_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """AWS answered 200. A record that is in neither list was not answered."""

    results: tuple[RecordAnswer, ...]
    unprocessed: tuple[RecordKey, ...]
    """Not billed; to be sent again."""


BatchOutcome = Answered | Refused | Unknown
"""`Refused` and `Unknown` are of the whole call."""
