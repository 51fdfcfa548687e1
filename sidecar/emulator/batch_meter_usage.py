"""Answer BatchMeterUsage: what the customers of a SaaS product owe for an hour, and whether it is on record already.

Elsewhere: what a request may hold (`batch_request`), how usage may be split (`allocations`), who is a customer
(`customers`), what is kept (`saas_records`).

Invariants (metering service model, "BatchMeterUsage", "UsageRecordResult"):
- Order of precedence, which AWS does not document: size, disabled API, quota, parameters, product, license, dimension,
  customer, timestamp, tags, allocations. Any of these refuses the whole call, and nothing is kept.
- Then each record by itself: Success, CustomerNotSubscribed, DuplicateRecord; or it is unprocessed, and not billed.
- The hour of a timestamp is its slot, for a customer, dimension and product or license, in the region called. The same
  quantity again, by value, is answered with the same record id; another one is DuplicateRecord, and the first stands.
- Of two records of one slot in a call the first is kept.
- Where the caller runs is not asked.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sidecar.clock import iso
from sidecar.emulator import allocations
from sidecar.emulator.batch_request import BatchRecord, BatchRequest, malformed, parse_batch
from sidecar.emulator.behaviour import Behaviour, LateFrom, OtherAllocations
from sidecar.emulator.callers import Caller
from sidecar.emulator.customers import Customer, Subscription
from sidecar.emulator.records import hour_of
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.saas import SaasState, in_order
from sidecar.emulator.saas_behaviour import BatchAnswer, EndedLicense, MonthGrace, SameRecord, UnknownIdentifier
from sidecar.emulator.saas_records import SaasRecord, SaasSlot
from sidecar.emulator.state import EmulatorState

OPERATION: Final = "BatchMeterUsage"
BYTES_MAX: Final = 1_000_000
"""A request must be smaller: 1 MB."""
ORDERED_QUOTA: Final = "saas_calls_per_second"
"""The bucket of the rate that is set for this operation alone."""
SUCCESS: Final = "Success"
NOT_SUBSCRIBED: Final = "CustomerNotSubscribed"
DUPLICATE: Final = "DuplicateRecord"
UNKNOWN_STATUS: Final = "Deferred"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A record that refuses no call, and whose it is; None for a customer that AWS does not know."""

    record: BatchRecord
    product_code: str
    customer: Customer | None


def check_size(size: int, behaviour: Behaviour) -> None:
    """Refuse a body that is too big."""
    if size >= BYTES_MAX:
        raise malformed(f"The request has {size} bytes; it must have fewer than {BYTES_MAX}.", behaviour)


def answer(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return the response members. `region` is the one the request was signed for. Raises Refusal."""
    with emulated.lock:
        if behaviour.saas_disabled:
            raise refusal("DisabledApiException")
        if not emulated.quotas.within(caller.account, region, ORDERED_QUOTA, behaviour.saas_calls_per_second):
            raise refusal("ThrottlingException")
        request = parse_batch(body, behaviour)
        judged = [_judged(emulated, caller, request, each, behaviour, now) for each in request.records]
        if len({each.product_code for each in judged}) > 1:
            raise _invalid_license("The usage records are for more than one product.")
        left = _unprocessed(len(judged), behaviour.saas_unprocessed_share)
        results = [
            _result(emulated.saas, region, each, behaviour, now)
            for place, each in enumerate(judged)
            if place not in left
        ]
    if behaviour.saas_shuffled:
        random.shuffle(results)
    return _members(results, [judged[place].record.sent for place in sorted(left)], behaviour)


def _judged(
    emulated: EmulatorState,
    caller: Caller,
    request: BatchRequest,
    record: BatchRecord,
    behaviour: Behaviour,
    now: datetime,
) -> Judged:
    """Return whose a record is. Raises Refusal for what refuses the whole call."""
    ours = caller.account == behaviour.account
    if request.product_code and not (ours and request.product_code in emulated.product_codes):
        raise refusal("InvalidProductCodeException", "The product code does not match the product.")
    if record.license_arn:
        customer: Customer | None = _licensed(emulated.saas, request, record, ours, behaviour, now)
    else:
        customer = _customer(emulated.saas, request.product_code, record, behaviour)
    if record.dimension not in emulated.dimensions:
        raise refusal("InvalidUsageDimensionException", f"The product has no usage dimension {record.dimension!r}.")
    _check_timestamp(record.timestamp, behaviour, now)
    allocations.check(record, behaviour)
    product = request.product_code or (customer.product_code if customer else "")
    return Judged(record=record, product_code=product, customer=customer)


def _licensed(
    saas: SaasState, request: BatchRequest, record: BatchRecord, ours: bool, behaviour: Behaviour, now: datetime
) -> Customer:
    found = saas.with_license(record.license_arn)
    if found is None or not ours or found.account != record.account:
        raise _invalid_license(f"There is no license {record.license_arn} of account {record.account}.")
    if request.product_code and found.product_code != request.product_code:
        raise _invalid_license(f"The license {record.license_arn} is for another product.")
    if found.active_from is not None and record.timestamp < found.active_from:
        raise _invalid_license(f"The license {record.license_arn} was not active at {iso(record.timestamp)}.")
    over = not found.takes_usage(now, behaviour) and found.state is not Subscription.PENDING
    if over and behaviour.saas_ended_license is EndedLicense.WHOLE_CALL:
        raise _invalid_license(f"The license {record.license_arn} is not active.")
    return found


def _customer(saas: SaasState, product_code: str, record: BatchRecord, behaviour: Behaviour) -> Customer | None:
    """Return the customer of an older product."""
    if record.account:
        return next(iter(in_order(saas.of_account(product_code, record.account))), None)
    found = saas.with_identifier(product_code, record.identifier)
    if found is None and behaviour.saas_unknown_identifier is UnknownIdentifier.WHOLE_CALL:
        raise refusal(
            "InvalidCustomerIdentifierException", f"There is no customer {record.identifier!r} of {product_code}."
        )
    return found


def _check_timestamp(timestamp: datetime, behaviour: Behaviour, now: datetime) -> None:
    counted = hour_of(now) if behaviour.late_from is LateFrom.HOUR else now
    late = timedelta(seconds=behaviour.saas_late_seconds_max)
    grace = timedelta(seconds=behaviour.saas_grace_seconds)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if timestamp < month and behaviour.saas_month_grace is MonthGrace.EXTENSION:
        late += grace
    if timestamp < month and now >= month + grace:
        raise _out_of_bounds(timestamp, f"usage of a month is taken until {iso(month + grace)}")
    if timestamp <= counted - late:
        raise _out_of_bounds(timestamp, f"must be after {iso(counted - late)}")
    if timestamp > now + timedelta(seconds=behaviour.saas_early_seconds_max):
        raise _out_of_bounds(timestamp, f"it is after {iso(now)}")


def _out_of_bounds(timestamp: datetime, why: str) -> Refusal:
    return refusal("TimestampOutOfBoundsException", f"The timestamp {iso(timestamp)} is out of bounds: {why}.")


def _invalid_license(message: str) -> Refusal:
    return refusal("InvalidLicenseException", message)


def _unprocessed(count: int, share: float) -> set[int]:
    """Return the places of the records that are not processed this time."""
    return set(random.sample(range(count), min(count, math.ceil(count * share)))) if share > 0 else set()


def _result(saas: SaasState, region: str, judged: Judged, behaviour: Behaviour, now: datetime) -> dict[str, object]:
    """Return a UsageRecordResult, and keep the record where it is the first of its slot."""
    record, customer = judged.record, judged.customer
    if customer is None or not customer.takes_usage(now, behaviour):
        return {"UsageRecord": record.sent, "Status": NOT_SUBSCRIBED}
    slot = SaasSlot(
        region=region,
        product_code=judged.product_code,
        account=customer.account,
        license_arn=record.license_arn,
        dimension=record.dimension,
        hour=hour_of(record.timestamp),
    )
    kept = saas.records.at(slot)
    if kept is None:
        kept = saas.records.write(slot, record.value, record.allocations, record.timestamp, now)
    elif behaviour.saas_same_record is SameRecord.DUPLICATE or not _same(kept, record, behaviour):
        return {"UsageRecord": record.sent, "Status": DUPLICATE}
    return {"UsageRecord": record.sent, "MeteringRecordId": kept.record_id, "Status": SUCCESS}


def _same(kept: SaasRecord, record: BatchRecord, behaviour: Behaviour) -> bool:
    tolerant = behaviour.other_allocations is OtherAllocations.IDEMPOTENT
    same_split = allocations.split(kept.allocations) == allocations.split(record.allocations)
    return kept.quantity == record.value and (same_split or tolerant)


def _members(results: Sequence[dict[str, object]], left: Sequence[object], behaviour: Behaviour) -> dict[str, object]:
    if behaviour.saas_answer is BatchAnswer.NO_RESULTS:
        return {"UnprocessedRecords": list(left)}
    for each in results:
        if behaviour.saas_answer is BatchAnswer.NO_RECORD_ID:
            each.pop("MeteringRecordId", None)
        if behaviour.saas_answer is BatchAnswer.UNKNOWN_STATUS:
            each["Status"] = UNKNOWN_STATUS
    return {"Results": list(results), "UnprocessedRecords": list(left)}
