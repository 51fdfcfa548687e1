"""Hold the table of BatchMeterUsage's answers as data: code or status → disposition, reason, hint.

What is not about a record of a batch (credentials, routes, throttling, lost answers) is in `dispositions`, which both
operations share.

Invariants:
- One row per code; a test compares the rows with botocore's service model, errors and statuses.
- A refusal of the whole call that is about one record (`isolates`) stored nothing: the batch is halved until the
  record stands alone. An unknown code may be of that kind.
- A call that is held ends the pass, unless it `concerns` its own product or region alone.
- Unknown codes and statuses are held: usage is not dropped because AWS learned a new word.

Sources: AWS Marketplace API Reference, BatchMeterUsage, Errors, and the status of UsageRecordResult; seller guide, SaaS
integration.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from sidecar.metering import dispositions
from sidecar.metering.disposition_row import WAITS, Row
from sidecar.metering.dispositions import UNKNOWN
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Disposition

UNPROCESSED: Final = "UnprocessedRecords"
"""No code of AWS's: the record is in that list of an answer."""
NOT_ANSWERED: Final = "record_not_answered"
"""The record is in no list of an answer."""
STATUS_UNKNOWN: Final = "status_unknown"
TOO_BIG: Final = "record_too_big"
"""One record is larger than a call may be: it was not sent."""
RETRY: Final = "then send it again with `POST /v1/usage/retry`."


def _row(codes: str, disposition: Disposition, reason: str, hint: str) -> Row:
    return Row(codes=tuple(codes.split()), disposition=disposition, reason=reason, hint=hint)


RECORD_ROWS: Final[tuple[Row, ...]] = (
    _row(
        "CustomerNotSubscribed",
        Disposition.REJECT,
        "customer_not_subscribed",
        "AWS says that this customer has no active agreement for the product, or that its account is suspended. Check"
        " the agreement. A notice that it is active again sends the record again, while it is not 24 hours old.",
    ),
    _row(
        "DuplicateRecord",
        Disposition.DISPUTE,
        "duplicate_record",
        "AWS holds another quantity for this customer, dimension and hour; the customer may be billed too little. Look"
        " for a second reporter of this product; then decide with `POST /v1/usage/retry`.",
    ),
    _row(UNPROCESSED, Disposition.HOLD, "unprocessed", WAITS),
    Row(
        codes=(NOT_ANSWERED,),
        disposition=Disposition.HOLD,
        reason="record_not_answered",
        hint="AWS's answer does not name this record. The same request is sent again; AWS counts it once.",
        definite=False,
    ),
    Row(
        codes=(TOO_BIG,),
        disposition=Disposition.REPAIR,
        reason="record_too_big",
        hint="The split by tags makes this one record larger than a call may be; it is sent with at most 500 shares,"
        " then without any.",
        repairs=(Repair.FEWER_ALLOCATIONS, Repair.WITHOUT_ALLOCATIONS),
    ),
    Row(
        codes=(STATUS_UNKNOWN,),
        disposition=Disposition.HOLD,
        reason="status_unknown",
        hint="AWS gave this record a status that this version does not know. Look it up, and upgrade.",
        definite=False,
        slow=True,
    ),
)
"""What AWS answers for one record."""

ISOLATED_ROWS: Final[tuple[Row, ...]] = (
    _row(
        "InvalidUsageDimensionException",
        Disposition.REJECT,
        "invalid_usage_dimension",
        f"The listing has no dimension with this API name. Add or correct it, {RETRY}",
    ),
    _row(
        "InvalidLicenseException",
        Disposition.REJECT,
        "invalid_license",
        "AWS does not know this license for the customer, or it is not active, or of another product. Resolve the"
        f" customer again, {RETRY}",
    ),
    _row(
        "InvalidCustomerIdentifierException",
        Disposition.REJECT,
        "invalid_customer",
        "AWS does not know this customer. Products listed since June 2026 want account and license, which"
        f" ResolveCustomer gives; {RETRY}",
    ),
    _row(
        "TimestampOutOfBoundsException",
        Disposition.EXPIRE,
        "timestamp_out_of_bounds",
        "AWS takes usage up to 24 hours old, of the month before until 06:00 UTC of the first day, and none from the"
        " future. Check this host's clock and the way to AWS.",
    ),
    Row(
        codes=("InvalidTagException", "TooManyTagsException"),
        disposition=Disposition.REPAIR,
        reason="invalid_tag",
        hint="AWS refused the tags; the record is sent without them. Use up to five tags of plain characters.",
        repairs=(Repair.WITHOUT_ALLOCATIONS,),
    ),
    Row(
        codes=("InvalidUsageAllocationsException",),
        disposition=Disposition.REPAIR,
        reason="invalid_usage_allocations",
        hint="AWS refused the split by tags; the record is sent with at most 500 shares, then in whole numbers, then"
        " without any.",
        repairs=(Repair.FEWER_ALLOCATIONS, Repair.INTEGER_FIELD, Repair.WITHOUT_ALLOCATIONS),
    ),
    Row(
        codes=("ValidationException", "SerializationException", "ParamValidationError", "DecimalsUnsupported"),
        disposition=Disposition.REPAIR,
        reason="request_malformed",
        hint="AWS or its SDK cannot read this record. A whole quantity in the decimal field is sent again in the"
        " integer field, unless SIDECAR_QUANTITY_FIELD is decimal: set auto then. Where that is refused too, upgrade,"
        f" report this, {RETRY}",
        repairs=(Repair.INTEGER_FIELD,),
    ),
)
"""What refuses the whole call for one record of it."""

CALL_ROWS: Final[tuple[Row, ...]] = (
    Row(
        codes=("InvalidProductCodeException",),
        disposition=Disposition.HOLD,
        reason="invalid_product_code",
        hint="AWS does not know this product code for the account of these credentials. Use the code, not the product"
        " ID, and the seller's account.",
        slow=True,
    ),
    Row(
        codes=("DisabledApiException",),
        disposition=Disposition.HOLD,
        reason="api_disabled",
        hint="AWS Marketplace metering is not offered in this region: set SIDECAR_SAAS_REGION to us-east-1.",
        slow=True,
    ),
    Row(
        codes=("AccessDeniedException", "UnauthorizedException", "UnauthorizedOperation", "AccessDenied"),
        disposition=Disposition.HOLD,
        reason="access_denied",
        hint='Allow aws-marketplace:BatchMeterUsage on Resource "*" for this role, which must be in the account that'
        " published the product.",
        slow=True,
    ),
)
"""What is about the call, whichever records are in it."""

ROWS: Final = (*RECORD_ROWS, *ISOLATED_ROWS, *CALL_ROWS)
TABLE: Final[Mapping[str, Row]] = {code: row for row in ROWS for code in row.codes}


class Concern(Enum):
    """What else a call that is held would meet the same answer for."""

    PRODUCT = "product"
    REGION = "region"
    EVERYTHING = "everything"


CONCERNS: Final[Mapping[str, Concern]] = {
    "InvalidProductCodeException": Concern.PRODUCT,
    "DisabledApiException": Concern.REGION,
    "InvalidEndpointRegionException": Concern.REGION,
}


def concerns(code: str) -> Concern:
    """Return what a held call with this code is about: credentials, routes and throttling are every call's."""
    return CONCERNS.get(code, Concern.EVERYTHING)


def classify(code: str, message: str = "") -> Row:
    """Return the row for a code or status. Of `message` only `dispositions.QUALIFIERS` is read."""
    return TABLE.get(code) or dispositions.classify(code, message)


def isolates(code: str, message: str = "") -> bool:
    """Return whether a refusal of the whole call may be about one record of it."""
    row = classify(code, message)
    return row in ISOLATED_ROWS or row is UNKNOWN
