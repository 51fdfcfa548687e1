"""Pack sealed records into BatchMeterUsage calls, halve a call that was refused, and find whose answer is whose.

Invariants:
- A call has at most 25 records and less than 1 MB, oldest first. It is for one region and one product: AWS refuses the
  licenses of two products together. It names ProductCode, or its records name licenses, never both.
- A refusal of the whole call that may be about one record stored nothing. Halving finds that record in at most five
  steps.
- An answer is known by the record that it echoes, never by its place. A record without an answer has an unknown
  outcome.
- `DuplicateRecord` settles a record only where a request of ours with this very quantity left before, and its answer
  was lost. Otherwise another sender's quantity is billed, and a person must look.

Sources: AWS Marketplace API Reference, BatchMeterUsage (25 records, 1 MB, identical requests, status of a record);
AWS's guide for SaaS metering (one product in a call, bisection).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sidecar.metering.batch_call import Answered, BatchRequest, RecordAnswer, RecordKey, RecordStatus
from sidecar.metering.batch_dispositions import NOT_ANSWERED, STATUS_UNKNOWN, TOO_BIG, UNPROCESSED
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.saas.customers import CustomerKey
from sidecar.saas.records import CustomerRecord, wire_record

RECORDS_MAX: Final = 25
BYTES_MAX: Final = 1_000_000
"""Less than a mebibyte: AWS does not say which of the two a megabyte is."""
ENVELOPE_BYTES: Final = 1_000
"""More than everything of a call that is not in its records."""
NO_ID: Final = ""
"""AWS gives no id with some duplicates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The records of one call."""

    region: str
    product_code: str
    """Whose records these are; sent only where they name no licenses."""
    with_licenses: bool
    records: tuple[CustomerRecord, ...]

    def request(self) -> BatchRequest:
        """Return the call's parameters."""
        return BatchRequest(
            product_code=None if self.with_licenses else self.product_code,
            records=tuple(map(wire_record, self.records)),
        )

    def halves(self) -> tuple[Batch, ...]:
        """Return its two halves, the older one first; none where one record is left."""
        middle = (len(self.records) + 1) // 2
        parts = (self.records[:middle], self.records[middle:])
        return tuple(replace(self, records=part) for part in parts) if all(parts) else ()


class Packed(NamedTuple):
    """The calls that send some records, and the records that no call can carry, each with its outcome."""

    batches: tuple[Batch, ...]
    refused: tuple[tuple[CustomerRecord, Outcome], ...]


def pack(records: Iterable[CustomerRecord], product_of: Callable[[CustomerKey], str]) -> Packed:
    """Return the calls for these records, the one with the oldest first. `product_of` has the product of a license."""
    groups: dict[tuple[str, str, bool], list[CustomerRecord]] = {}
    refused: list[tuple[CustomerRecord, Outcome]] = []
    for record in sorted(records, key=lambda one: (one.usage.hour, one.customer, one.usage.dimension)):
        if size(record) > BYTES_MAX - ENVELOPE_BYTES:
            refused.append((record, Refused(code=TOO_BIG, sent=False)))
            continue
        customer = record.customer
        product = customer.product_code or product_of(customer)
        groups.setdefault((record.region, product, bool(customer.license_arn)), []).append(record)
    batches = [
        Batch(region=region, product_code=product, with_licenses=licenses, records=part)
        for (region, product, licenses), found in groups.items()
        for part in _parts(found)
    ]
    return Packed(tuple(sorted(batches, key=lambda one: one.records[0].usage.hour)), tuple(refused))


def size(record: CustomerRecord) -> int:
    """Return the bytes that a record takes in a call, its comma included."""
    return len(json.dumps(wire_record(record)).encode()) + 2


def _parts(records: Iterable[CustomerRecord]) -> Iterable[tuple[CustomerRecord, ...]]:
    part: list[CustomerRecord] = []
    used = ENVELOPE_BYTES
    for record in records:
        taken = size(record)
        if part and (len(part) == RECORDS_MAX or used + taken > BYTES_MAX):
            yield tuple(part)
            part, used = [], ENVELOPE_BYTES
        part.append(record)
        used += taken
    if part:
        yield tuple(part)


def outcomes(batch: Batch, answered: Answered) -> tuple[tuple[CustomerRecord, Outcome], ...]:
    """Return each record of a call with what AWS said of it."""
    said = {one.key: one for one in answered.results}
    unprocessed = frozenset(answered.unprocessed)
    return tuple((record, _outcome(record, said, unprocessed)) for record in batch.records)


def _outcome(record: CustomerRecord, said: dict[RecordKey, RecordAnswer], unprocessed: frozenset[RecordKey]) -> Outcome:
    key = RecordKey.of(wire_record(record), record.request.timestamp)
    answer = said.get(key)
    if answer is None:
        return Refused(code=UNPROCESSED) if key in unprocessed else Unknown(code=NOT_ANSWERED)
    if answer.status == RecordStatus.SUCCESS.value:
        return Settled(record_id=answer.record_id) if answer.record_id else Unknown(code="record_id_missing")
    if answer.status == RecordStatus.DUPLICATE.value and is_resend(record):
        return Settled(record_id=answer.record_id or NO_ID)
    if answer.status in {status.value for status in RecordStatus}:
        return Refused(code=answer.status)
    return Unknown(code=STATUS_UNKNOWN)


def is_resend(record: CustomerRecord) -> bool:
    """Return whether AWS may hold this record from us already: a request left, and its answer was lost.

    Not where AWS said before that it holds another quantity.
    """
    return not record.usage.definite and record.usage.last_error != RecordStatus.DUPLICATE.value
