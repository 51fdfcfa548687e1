"""Answer MeterUsage: what a workload owes for an hour, and whether that is already on record.

Elsewhere: who is calling and whether IAM lets them (`callers`, `metering_api`), what a request may
hold (`usage_request`), how usage may be split (`allocations`), what is kept (`records`).

Invariants (metering service model, "MeterUsage"; seller guide, `container-metering-meterusage`):
- Order of precedence, which AWS does not document: platform, region, parameters, product code,
  entitlement, dimension, timestamp, tags, allocations, dry run, client token, duplicate.
- Once a workload has metered a product, it is refused neither for its subscription nor for its platform. A
  dry run is no such call: it changes nothing, whatever it is answered.
- The hour of a timestamp is its slot. The same quantity again, by value, is answered with the same record
  id; another one is DuplicateRequestException, and the first stands.
- On AgentCore Runtime the client token is the slot: it must be there, and an hour has as many records as tokens. Tags
  are refused, with a code that AWS does not name.
- More than six hours late is TimestampOutOfBoundsException. The future and the time before the workload
  started are undocumented, like much else here: the settings of `Behaviour` play the readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sidecar.clock import iso
from sidecar.emulator import allocations
from sidecar.emulator.behaviour import Behaviour, LateFrom, OffPlatform, OtherAllocations, Platform, Reask
from sidecar.emulator.callers import Caller
from sidecar.emulator.constraints import invalid
from sidecar.emulator.quantity_kind import wrong_kind
from sidecar.emulator.records import Slot, hour_of
from sidecar.emulator.refusals import Refusal, access_denied, refusal
from sidecar.emulator.state import EmulatorState, Registered
from sidecar.emulator.usage_request import UsageRequest, asks_dry_run, parse_usage_request

OPERATION: Final = "MeterUsage"


def answer(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return the response members. `region` is the one the request was signed for. Raises Refusal."""
    place = Registered(workload=caller.workload, product_code=str(body.get("ProductCode")))
    with emulated.lock:
        known = place in emulated.metered
        _check_place(caller, region, behaviour, known)
        request = parse_usage_request(body)
        _check_kind(request, behaviour)
        if request.product_code not in emulated.product_codes:
            raise refusal("InvalidProductCodeException", "The product code does not match the product.")
        if not known and (behaviour.dry_run_checks_subscription or not request.dry_run):
            _check_entitlement(emulated, caller, request, behaviour)
        if request.dimension not in emulated.dimensions:
            raise refusal(
                "InvalidUsageDimensionException", f"The product has no usage dimension {request.dimension!r}."
            )
        _check_timestamp(request, caller, behaviour, now)
        if caller.platform is Platform.AGENTCORE:
            _check_token(request)
        allocations.check(request, behaviour)
        if request.dry_run:
            raise refusal("DryRunOperation", status=behaviour.dry_run_status.value)
        record_id = _recorded(emulated, caller, request, behaviour, now)
        emulated.metered.add(place)
    return {"MeteringRecordId": record_id}


def denied(denial: Refusal, body: Mapping[str, object]) -> Refusal:
    """Return the refusal of a caller without IAM permission; a dry run has a code of its own for it."""
    return refusal("UnauthorizedException", denial.message) if asks_dry_run(body) else denial


def _check_place(caller: Caller, region: str, behaviour: Behaviour, known: bool) -> None:
    if caller.platform is Platform.NONE and not known:
        raise _off_platform(caller, behaviour)
    for called in (region, behaviour.region):
        if called != caller.region:
            raise refusal(
                "InvalidEndpointRegionException",
                f"MeterUsage must be called in the Region the workload runs in: {caller.region}, not {called}.",
            )


def _off_platform(caller: Caller, behaviour: Behaviour) -> Refusal:
    if behaviour.meter_off_platform is OffPlatform.ACCESS_DENIED:
        return access_denied(
            account=caller.account,
            role=caller.role,
            workload=caller.workload,
            action=f"aws-marketplace:{OPERATION}",
        )
    return refusal(behaviour.meter_off_platform.value)


def _check_kind(request: UsageRequest, behaviour: Behaviour) -> None:
    """Refuse the kind of field that this AWS does not take."""
    if wrong := wrong_kind(request.quantity, "usageQuantity", behaviour):
        raise invalid(wrong)


def _check_entitlement(emulated: EmulatorState, caller: Caller, request: UsageRequest, behaviour: Behaviour) -> None:
    place = Registered(workload=caller.workload, product_code=request.product_code)
    if (caller.account, request.product_code) not in emulated.subscriptions:
        if not request.dry_run:
            emulated.meter_denied.add(place)
        raise refusal(
            "CustomerNotEntitledException",
            f"Account {caller.account} has no valid subscription to product {request.product_code}.",
        )
    if place in emulated.meter_denied and behaviour.reask is Reask.STICKY:
        raise refusal("CustomerNotEntitledException", "This workload was found not entitled when it first metered.")


def _check_timestamp(request: UsageRequest, caller: Caller, behaviour: Behaviour, now: datetime) -> None:
    late_from = hour_of(now) if behaviour.late_from is LateFrom.HOUR else now
    earliest = late_from - timedelta(seconds=behaviour.late_seconds_max)
    latest = now + timedelta(seconds=behaviour.early_seconds_max)
    if not earliest <= request.timestamp <= latest:
        raise _out_of_bounds(request, f"between {iso(earliest)} and {iso(latest)}")
    if behaviour.refuse_before_start and caller.started_at is not None and request.timestamp < caller.started_at:
        raise _out_of_bounds(request, f"at or after {iso(caller.started_at)}, when the workload started")


def _check_token(request: UsageRequest) -> None:
    if request.client_token is None:
        raise refusal("ValidationException", "ClientToken is required on Amazon Bedrock AgentCore Runtime.")
    if request.allocations:
        raise refusal("InvalidTagException", "Tags are not supported on Amazon Bedrock AgentCore Runtime.")


def _out_of_bounds(request: UsageRequest, bounds: str) -> Refusal:
    return refusal(
        "TimestampOutOfBoundsException", f"The timestamp {iso(request.timestamp)} is out of bounds: must be {bounds}."
    )


def _recorded(
    emulated: EmulatorState, caller: Caller, request: UsageRequest, behaviour: Behaviour, now: datetime
) -> str:
    """Return the id of the record in the request's slot, a new or an equal one."""
    kept, account, workload = emulated.records, caller.account, caller.workload
    by_token = caller.platform is Platform.AGENTCORE
    if (behaviour.client_token_checked or by_token) and kept.token_conflicts(account, workload, request):
        raise refusal("IdempotencyConflictException")
    slot = Slot(
        workload=workload,
        product_code=request.product_code,
        dimension=request.dimension,
        hour=hour_of(request.timestamp),
        token=str(request.client_token) if by_token else "",
    )
    record = kept.at(slot)
    if record is None:
        record = kept.write(slot, account, request, now)
    else:
        same_split = allocations.split(record.allocations) == allocations.split(request.allocations)
        tolerant = behaviour.other_allocations is OtherAllocations.IDEMPOTENT
        if record.quantity != request.value or not (same_split or tolerant):
            raise refusal("DuplicateRequestException")
    kept.remember_token(account, workload, request)
    return record.record_id
