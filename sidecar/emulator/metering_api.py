"""Speak AWS JSON 1.1: which operation is asked for, by whom, and how it is answered.

Elsewhere: the rules of each operation, a module apiece, named in `OPERATIONS`.

Invariants (metering service model 2016-01-14, protocol AWS JSON 1.1):
- The operation is in X-Amz-Target, `AWSMPMeteringService.<Operation>`; an unknown one is
  UnknownOperationException.
- Answers are `application/x-amz-json-1.1` with `x-amzn-RequestId`; errors are
  `{"__type": code, "message": text}`.
- Before an operation's own rules: signature and credentials, then permission, then throttling (and any
  other error that was queued; then the quotas, where they are kept). AWS does not document this order.
- Signature and credentials are judged in real time, whatever the emulated clock says: a client signs by
  its own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from sidecar.emulator import batch_meter_usage, meter_usage, register_usage, resolve_customer, sigv4
from sidecar.emulator.behaviour import Behaviour, Body
from sidecar.emulator.callers import Caller
from sidecar.emulator.json_api import CONTENT_TYPE, WEB_PAGE, error, json_object, operation_of, success
from sidecar.emulator.refusals import Refusal, access_denied
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.wire import Conditions, Incoming, Reply, ordered_error, signer

TARGET_PREFIX: Final = "AWSMPMeteringService."

Operation = Callable[[EmulatorState, Caller, str, Mapping[str, object], Behaviour, datetime], dict[str, object]]

OPERATIONS: Final[Mapping[str, Operation]] = {
    register_usage.OPERATION: register_usage.answer,
    meter_usage.OPERATION: meter_usage.answer,
    batch_meter_usage.OPERATION: batch_meter_usage.answer,
    resolve_customer.OPERATION: resolve_customer.answer,
}
_LEFT_OUT: Final[Mapping[Body, str]] = {
    Body.MISSING_SIGNATURE: "Signature",
    Body.MISSING_RECORD_ID: "MeteringRecordId",
}


class MeteringService:
    """The metering service of AWS Marketplace, as far as it is built."""

    def operation(self, incoming: Incoming) -> str:
        return operation_of(incoming.headers, TARGET_PREFIX, OPERATIONS)

    def workload(self, emulated: EmulatorState, incoming: Incoming) -> str | None:
        return signer(emulated, incoming)

    def perform(self, emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions) -> Reply:
        signed = sigv4.read(incoming.headers, conditions.real_now)
        caller = emulated.callers.authenticate(signed, conditions.behaviour, conditions.real_now)
        if not caller.allowed:
            raise _not_allowed(caller, operation, incoming.body)
        ordered_error(emulated, operation, conditions)
        with emulated.lock:
            emulated.quotas.check(caller.account, signed.region, operation, conditions.behaviour.quotas)
        if operation == batch_meter_usage.OPERATION:
            batch_meter_usage.check_size(len(incoming.body), conditions.behaviour)
        members = OPERATIONS[operation](
            emulated, caller, signed.region, json_object(incoming.body), conditions.behaviour, conditions.now
        )
        return _success(members, conditions.behaviour.body)

    def refuse(self, refused: Refusal, incoming: Incoming) -> Reply:
        return error(refused, "message")


def _not_allowed(caller: Caller, operation: str, body: bytes) -> Refusal:
    denial = access_denied(
        account=caller.account,
        role=caller.role,
        workload=caller.workload,
        action=f"aws-marketplace:{operation}",
    )
    return meter_usage.denied(denial, json_object(body)) if operation == meter_usage.OPERATION else denial


def _success(members: Mapping[str, object], body: Body) -> Reply:
    if body is Body.EMPTY:
        return Reply(status=200, content_type=CONTENT_TYPE, body=b"")
    if body is Body.HTML:
        return Reply(status=200, content_type="text/html", body=WEB_PAGE)
    kept = {name: value for name, value in members.items() if name != _LEFT_OUT.get(body)}
    return success(kept)
