"""Read AWS's side from CloudTrail: the MeterUsage events that AWS accepted.

Invariants:
- Billed is a MeterUsage that has no error and is no dry run. RegisterUsage is counted: AWS meters behind it by itself.
- A quantity that is not there is 0, as in the request.
- Events of another product are ignored and counted: a buyer's trail has those of every seller.

Sources: AWS Marketplace API Reference, "Logging AWS Marketplace Metering API calls with AWS CloudTrail"; MeterUsage
(UsageQuantity defaults to 0; DryRun).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import IO, Final

from sidecar.audit.fields import hour_of, micros, text
from sidecar.audit.input_files import OUTSIDE, Advance, Period, Reading, Unreadable, opened, size_of
from sidecar.audit.json_stream import JsonStream
from sidecar.audit.rows import BILLED, Row
from sidecar.strict_json import parse, shown

EVENT_SOURCE: Final = "metering-marketplace.amazonaws.com"
METER_USAGE: Final = "MeterUsage"
REGISTER_USAGE: Final = "RegisterUsage"
OTHER_SERVICE: Final = "other_service"
OTHER_OPERATION: Final = "other_operation"
REGISTRATION: Final = "register_usage"
REFUSED: Final = "refused_by_aws"
DRY_RUN: Final = "dry_run"
OTHER_PRODUCT: Final = "other_product"
QUANTITIES: Final = ("usageQuantityAsDecimal", "usageQuantity")
"""The fields that may hold the quantity; a request has one of them."""


class BilledRows:
    """Reads CloudTrail events of some products."""

    def __init__(self, reading: Reading, period: Period, products: Collection[str], advance: Advance) -> None:
        """`products`: the product codes that are compared; none means all."""
        self._reading, self._period, self._products, self._advance = reading, period, products, advance

    def read(self, name: str) -> Iterator[Row]:
        """Yield what AWS billed by a file. Raises TooManyFaults."""
        number = 0
        with opened(name, self._reading) as (content, raw):
            try:
                for number, value in enumerate(self._values(name, content, raw), start=1):
                    yield from self._rows(value, f"{name}, event {number}", f"{name}#{number}")
            except Unreadable as exc:
                self._reading.fault(f"{name}, event {number + 1}", exc)

    def _values(self, name: str, content: IO[bytes], raw: IO[bytes]) -> Iterator[object]:
        size, done = size_of(raw), 0

        def read(count: int) -> bytes:
            nonlocal done
            data = content.read(count)
            done += len(data)
            self._advance(name, min(done, size), size)
            return data

        return JsonStream(read).values()

    def _rows(self, value: object, place: str, origin: str) -> Iterator[Row]:
        self._reading.lines += 1
        try:
            found = parse_event(value, origin)
        except Unreadable as exc:
            self._reading.fault(place, exc)
            return
        reason = found if isinstance(found, str) else self._foreign(found)
        if reason:
            self._reading.ignored[reason] += 1
        elif isinstance(found, Row):
            self._reading.rows += 1
            yield found

    def _foreign(self, row: Row) -> str:
        if self._products and row.product not in self._products:
            return OTHER_PRODUCT
        return "" if self._period.has(row) else OUTSIDE


def parse_event(value: object, origin: str) -> Row | str:
    """Return what AWS billed by an event, or why it billed nothing by it. Raises Unreadable."""
    event = _event(value)
    if event.get("eventSource") != EVENT_SOURCE:
        return OTHER_SERVICE
    if event.get("eventName") != METER_USAGE:
        return REGISTRATION if event.get("eventName") == REGISTER_USAGE else OTHER_OPERATION
    request = event.get("requestParameters")
    dry = isinstance(request, dict) and request.get("dryRun") in (True, "true")
    if dry or event.get("errorCode") == "DryRunOperation":
        return DRY_RUN
    if event.get("errorCode") is not None:
        return REFUSED
    if not isinstance(request, dict):
        raise Unreadable(f"requestParameters is {shown(request)}; it must be an object.")
    answer = event.get("responseElements")
    return _billed(event, request, answer if isinstance(answer, dict) else {}, origin)


def _event(value: object) -> Mapping[str, object]:
    """Return an event; one of `aws cloudtrail lookup-events` holds it as text."""
    if isinstance(value, dict) and isinstance(inner := value.get("CloudTrailEvent"), str):
        try:
            value = parse(inner)
        except ValueError as exc:
            raise Unreadable(f"CloudTrailEvent {exc}") from None
    if isinstance(value, dict) and isinstance(value.get("detail"), dict):  # as EventBridge delivers it
        value = value["detail"]
    if not isinstance(value, dict) or "eventName" not in value:
        raise Unreadable(f"{shown(value)} is no CloudTrail event: it has no eventName.")
    return value


def _billed(
    event: Mapping[str, object], request: Mapping[str, object], answer: Mapping[str, object], origin: str
) -> Row:
    quantities = [(name, request[name]) for name in QUANTITIES if request.get(name) is not None]
    name, quantity = quantities[0] if quantities else ("usageQuantity", "0")
    return Row(
        hour=hour_of(request.get("timestamp")),
        dimension=text(request, "usageDimension"),
        state=BILLED,
        quantity=micros(quantity, name),
        record_id=text(answer, "meteringRecordId", required=False),
        tokens=text(request, "clientToken", required=False),
        product=text(request, "productCode", required=False),
        region=text(event, "awsRegion", required=False),
        account=text(event, "recipientAccountId", required=False),
        origin=origin,
    )
