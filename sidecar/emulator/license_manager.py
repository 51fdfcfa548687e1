"""Speak AWS JSON 1.1 for License Manager: which operation is asked for, by whom, and how it is answered.

Elsewhere: the rules of each operation, in the modules named in `OPERATIONS`; GetAccessToken in `access_tokens`.

Invariants (License Manager service model 2018-08-01, protocol AWS JSON 1.1):
- The operation is in X-Amz-Target, `AWSLicenseManager.<Operation>`; the signing name is `license-manager`.
- The text of an error is in the member `Message`, that of a RedirectException with its `Location` beside it.
- Before an operation's own rules: signature and credentials, then permission, then throttling (and any other error
  that was queued).
- Where a caller runs is not asked: nothing binds a license to a pod, a task or a region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from sidecar.emulator import access_tokens, checkout_license, license_consumption, received_licenses, sigv4
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.json_api import error, json_object, operation_of, success
from sidecar.emulator.refusals import Refusal, access_denied, refusal
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.wire import Conditions, Incoming, Reply, ordered_error, signer

TARGET_PREFIX: Final = "AWSLicenseManager."
SIGNING_NAME: Final = "license-manager"

Operation = Callable[[EmulatorState, Caller, str, Mapping[str, object], Behaviour, datetime], dict[str, object]]

OPERATIONS: Final[Mapping[str, Operation]] = {
    checkout_license.OPERATION: checkout_license.answer,
    license_consumption.CHECK_IN: license_consumption.check_in,
    license_consumption.EXTEND: license_consumption.extend,
    received_licenses.GET: received_licenses.get,
    received_licenses.LIST: received_licenses.list_received,
    received_licenses.USAGE: received_licenses.usage,
}
_KNOWN: Final = {**OPERATIONS, access_tokens.OPERATION: None}


class LicenseManager:
    """AWS License Manager, as far as a buyer's workload needs it."""

    def operation(self, incoming: Incoming) -> str:
        return operation_of(incoming.headers, TARGET_PREFIX, _KNOWN)

    def workload(self, emulated: EmulatorState, incoming: Incoming) -> str | None:
        found = signer(emulated, incoming)
        if found is not None:
            return found
        try:
            return access_tokens.subject_of(json_object(incoming.body))
        except Refusal:
            return None

    def perform(self, emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions) -> Reply:
        unsigned = operation == access_tokens.OPERATION and "authorization" not in incoming.headers
        if unsigned:
            ordered_error(emulated, operation, conditions)
            return _exchanged(emulated, incoming, conditions)
        signed = sigv4.read(incoming.headers, conditions.real_now, SIGNING_NAME)
        caller = emulated.callers.authenticate(signed, conditions.behaviour, conditions.real_now)
        if not caller.allowed:
            raise _not_allowed(caller, operation, conditions.behaviour)
        ordered_error(emulated, operation, conditions)
        if operation == access_tokens.OPERATION:
            return _exchanged(emulated, incoming, conditions)
        body = json_object(incoming.body)
        return success(
            OPERATIONS[operation](emulated, caller, signed.region, body, conditions.behaviour, conditions.now)
        )

    def refuse(self, refused: Refusal, incoming: Incoming) -> Reply:
        return error(refused, "Message")


def _exchanged(emulated: EmulatorState, incoming: Incoming, conditions: Conditions) -> Reply:
    with emulated.lock:
        return success(access_tokens.answer(emulated.tokens, json_object(incoming.body), conditions.real_now))


def _not_allowed(caller: Caller, operation: str, behaviour: Behaviour) -> Refusal:
    denial = access_denied(
        account=caller.account, role=caller.role, workload=caller.workload, action=f"license-manager:{operation}"
    )
    return refusal(behaviour.license_denial.value, denial.message)
