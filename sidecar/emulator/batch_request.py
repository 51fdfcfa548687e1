"""Read the members of a BatchMeterUsage request, with their types.

Elsewhere: whether what it says is allowed (`batch_meter_usage`), quantities and allocations (`usage_request`).

Invariants (metering service model, "BatchMeterUsageRequest", "UsageRecord"):
- UsageRecords has 0 to 25 entries; Timestamp and Dimension of each are required.
- A customer is named by an identifier or by an account, never by both; a license needs the account. An empty
  identifier counts as absent.
- Without a product code in the request each record needs its license. Both together are a setting: `saas_both_ids`.
- The model names no error for what breaks this: `saas_malformed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.constraints import PRODUCT_CODE_CHARACTERS_MAX, failed, invalid, wrong_product_code, wrong_text
from sidecar.emulator.customers import LICENSE_ARN
from sidecar.emulator.quantity_kind import wrong_kind
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.saas_behaviour import BothIds
from sidecar.emulator.usage_request import (
    DIMENSION_CHARACTERS_MAX,
    Allocation,
    Quantity,
    read_allocations,
    read_quantity,
    read_timestamp,
)

RECORDS_MAX: Final = 25
CUSTOMER_CHARACTERS_MAX: Final = 255
ARN_CHARACTERS_MAX: Final = 2048

_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """One UsageRecord that the model allows."""

    sent: Mapping[str, object]
    """As it came: so it is echoed."""
    timestamp: datetime
    dimension: str
    identifier: str
    account: str
    license_arn: str
    quantity: Quantity | None
    """None where the record has neither field: that counts as 0, of either kind."""
    allocations: tuple[Allocation, ...]

    @property
    def value(self) -> Decimal:
        """Return the quantity as a number."""
        return Decimal(0) if self.quantity is None else self.quantity.value


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """A BatchMeterUsage request that the model allows."""

    product_code: str
    """Empty where each record has its license."""
    records: tuple[BatchRecord, ...]


def parse_batch(body: Mapping[str, object], behaviour: Behaviour) -> BatchRequest:
    """Return the request. Raises Refusal: one error that lists everything wrong."""
    wrong: list[str] = []
    given, code = body.get("UsageRecords"), body.get("ProductCode")
    wrong += [] if code is None else wrong_product_code(code)
    if not isinstance(given, list) or len(given) > RECORDS_MAX:
        wrong.append(failed("usageRecords", f"Member must be a list of at most {RECORDS_MAX}"))
        given = []
    product = code if isinstance(code, str) else ""
    found = [_record(each, f"usageRecords.{place}.member.", wrong) for place, each in enumerate(given, 1)]
    records = tuple(each for each in found if each is not None)
    for place, record in enumerate(records, 1):
        wrong += _wrong_names(record, product, f"usageRecords.{place}.member.", behaviour)
        wrong += wrong_kind(record.quantity, f"usageRecords.{place}.member.quantity", behaviour)
    if wrong:
        raise malformed(invalid(wrong).message, behaviour)
    return BatchRequest(product_code=product, records=records)


def malformed(message: str, behaviour: Behaviour) -> Refusal:
    """Return the refusal of a request that the model forbids."""
    return refusal(behaviour.saas_malformed.value, message)


def _record(value: object, where: str, wrong: list[str]) -> BatchRecord | None:
    if not isinstance(value, dict):
        wrong.append(failed(where.rstrip("."), "Member must be a structure"))
        return None
    before = len(wrong)
    timestamp = read_timestamp(value.get("Timestamp"), where, wrong)
    dimension = value.get("Dimension")
    wrong += wrong_text(f"{where}dimension", dimension, required=True, least=1, most=DIMENSION_CHARACTERS_MAX)
    wrong += _wrong_texts(value, where)
    quantity = read_quantity(value, where, "Quantity", wrong)
    allocations = read_allocations(value.get("UsageAllocations"), where, wrong)
    if len(wrong) > before or timestamp is None:
        return None
    return BatchRecord(
        sent=value,
        timestamp=timestamp,
        dimension=str(dimension),
        identifier=value.get("CustomerIdentifier") or "",
        account=value.get("CustomerAWSAccountId") or "",
        license_arn=value.get("LicenseArn") or "",
        quantity=quantity,
        allocations=allocations,
    )


def _wrong_texts(value: Mapping[str, object], where: str) -> list[str]:
    identifier, account, arn = (value.get(f) for f in ("CustomerIdentifier", "CustomerAWSAccountId", "LicenseArn"))
    return [
        *wrong_text(f"{where}customerIdentifier", identifier, most=CUSTOMER_CHARACTERS_MAX),
        *wrong_text(
            f"{where}customerAWSAccountId", account, least=1, most=PRODUCT_CODE_CHARACTERS_MAX, pattern=_DIGITS
        ),
        *wrong_text(f"{where}licenseArn", arn, most=ARN_CHARACTERS_MAX, pattern=LICENSE_ARN),
    ]


def _wrong_names(record: BatchRecord, product: str, where: str, behaviour: Behaviour) -> list[str]:
    """Return what is wrong with how a record names product and customer."""
    if record.identifier and record.account:
        return [failed(f"{where}customerIdentifier", "Member must not be given together with customerAWSAccountId")]
    if not (record.identifier or record.account):
        return [failed(f"{where}customerAWSAccountId", "Member must not be null")]
    if record.license_arn and not record.account:
        return [failed(f"{where}licenseArn", "Member must be given together with customerAWSAccountId")]
    if not (record.license_arn or product):
        return [failed(f"{where}licenseArn", "Member must not be null without productCode")]
    if record.license_arn and product and behaviour.saas_both_ids is BothIds.REJECT:
        return [failed(f"{where}licenseArn", "Member must not be given together with productCode")]
    if not (record.license_arn or record.identifier or behaviour.saas_account_with_product):
        return [failed(f"{where}licenseArn", "Member must not be null")]
    return []
