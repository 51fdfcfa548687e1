"""Call MeterUsage once, really or as a dry run, and return the answer as a value.

What an outcome means for a record is decided in `metering.decide`, and for the gate in `entitlement.classify`.

Invariants:
- A sealed request is sent as it is, in one attempt; whether the SDK has the decimal fields is read from its model.
- Credentials are fetched before the call: a failure there has certainly billed nothing, and says nothing of the record.
- Every exception becomes a value. Where AWS may have billed, the outcome is unknown: a lost answer, or a 200 without a
  metering record id.
- A dry run passes with the code `DryRunOperation`, whatever its HTTP status, or with a 200 that AWS's JSON protocol
  would give: a captive portal answers 200 too.

Sources: AWS Marketplace API Reference, MeterUsage (DryRun); botocore's service model and exceptions.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.classify import classify
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.failed_calls import Failure, no_answer, not_called, refused
from sidecar.marketplace.sdk_errors import CallFailed, call_failed, code_of, of_aws, request_id_of
from sidecar.metering import dispositions, outcomes
from sidecar.metering.sealed_request import DecimalsUnsupported, Repair, SealedRequest
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import Dimension

OPERATION: Final = "MeterUsage"
PASSED: Final = "DryRunOperation"
ARN_ACCOUNT: Final = re.compile(r"arn:[a-z-]+:(?:iam|sts|ecs):[a-z0-9-]*:([0-9]{12}):")


@dataclass(frozen=True, kw_only=True)
class Metered:
    """The outcome of sending one sealed request."""

    outcome: outcomes.Outcome
    request_id: str
    """AWS's request id; empty where it gave none."""


@dataclass(frozen=True, kw_only=True)
class Passed:
    """AWS would take usage of the dimension."""

    request_id: str


DryRun = Passed | CallFailed


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The account and role that AWS bills, as far as known without asking; empty where unknown."""

    account: str
    role: str


def meter_usage(marketplace: Marketplace, request: SealedRequest) -> Metered:
    """Send a sealed request once. Raises nothing: the outermost edge of the SDK."""
    try:
        client = marketplace.ready()
    except Exception as exc:  # whatever the SDK raises while it makes its client and fetches credentials
        return _failed(not_called(exc))
    try:
        wire = request.as_wire(decimal_fields=has_decimals(client))
    except DecimalsUnsupported:
        return Metered(outcome=outcomes.Refused(code="DecimalsUnsupported", sent=False), request_id="")
    except (ValueError, ArithmeticError):  # a quantity its field cannot hold, as the SDK would find
        return Metered(outcome=outcomes.Refused(code="ParamValidationError", sent=False), request_id="")
    try:
        reply = client.meter_usage(**wire)
    except ClientError as exc:
        return _failed(refused(exc, OPERATION))
    except Exception as exc:  # the outermost edge of the SDK, which raises whatever a strange reply makes it raise
        return _failed(no_answer(exc))
    record_id = reply.get("MeteringRecordId")
    if isinstance(record_id, str) and record_id.strip():
        return Metered(outcome=outcomes.Settled(record_id=record_id), request_id=request_id_of(reply))
    return Metered(outcome=outcomes.Unknown(code="record_id_missing"), request_id=request_id_of(reply))


def dry_run(
    marketplace: Marketplace,
    product_code: str,
    dimension: Dimension,
    now: datetime,
    host_now: datetime | None = None,
    decimal: bool = True,
) -> DryRun:
    """Ask by a dry run whether AWS would take usage of this dimension now. Records nothing. Raises nothing.

    `host_now` is this host's own time, where `now` follows another clock. `decimal`: ask in the decimal field, where
    the SDK has it.
    """
    try:
        client = marketplace.metering()
        decimal = decimal and has_decimals(client)
        reply = client.meter_usage(
            ProductCode=product_code,
            Timestamp=int(now.timestamp()),
            UsageDimension=dimension.name,
            DryRun=True,
            **({"UsageQuantityAsDecimal": "0"} if decimal else {"UsageQuantity": 0}),
        )
    except Exception as exc:  # the outermost edge of the SDK, as above
        if isinstance(exc, ClientError) and exc.operation_name == OPERATION and code_of(exc) == PASSED:
            return Passed(request_id=request_id_of(exc.response))
        return call_failed(exc, AnsweredBy.METER_USAGE, host_now or now)
    if of_aws(reply):
        return Passed(request_id=request_id_of(reply))
    return CallFailed(code="200", asked=AnsweredBy.METER_USAGE, row=classify("200", AnsweredBy.METER_USAGE))


def refuses_decimals(found: DryRun) -> bool:
    """Return whether AWS could not read a dry run, which may be for its decimal field."""
    return isinstance(found, CallFailed) and Repair.INTEGER_FIELD in dispositions.classify(found.code).repairs


def has_decimals(client: Any) -> bool:
    """Return whether the SDK's model has the decimal fields: they came late in 2026."""
    shape = client.meta.service_model.operation_model(OPERATION).input_shape
    return "UsageQuantityAsDecimal" in shape.members


def caller(marketplace: Marketplace, workload: str = "") -> Caller:
    """Return account and role of the calls, without asking AWS. `workload` may be an ECS task's ARN."""
    role = marketplace.credential_source().role
    found = ARN_ACCOUNT.match(role) or ARN_ACCOUNT.match(workload)
    return Caller(account=found[1] if found else "", role=role)


def _failed(failure: Failure) -> Metered:
    return Metered(outcome=failure.outcome, request_id=failure.request_id)
