"""Check that IAM lets this container ask AWS Marketplace: by a dry run of MeterUsage, the only one there is.

Invariants:
- Nothing is registered and nothing is billed: RegisterUsage has no dry run and is never sent, and MeterUsage is sent
  with `DryRun=true` and quantity 0, as `run` does before it opens the gate.
- Nothing is checked out either: CheckoutLicense has no dry run.
- What a sidecar that runs here was answered counts for both: AWS is not asked again.

Sources: AWS Marketplace API Reference, MeterUsage (DryRun) and RegisterUsage; Service Authorization Reference, AWS
Marketplace Metering (no resources, no condition keys).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context, RunningSidecar
from sidecar.doctor.finding import Finding, Status, failed, passed, skipped, warned
from sidecar.doctor.hints import failure_hint
from sidecar.doctor.masking import masked
from sidecar.entitlement.license_errors import ACTIONS
from sidecar.marketplace.meter_usage import Passed, dry_run
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.settings import Dimension

RULE: Final = (
    "The role may call what the settings need: aws-marketplace:RegisterUsage, aws-marketplace:MeterUsage, or License"
    " Manager's actions for a contract."
)
NO_DRY_RUN: Final = "RegisterUsage has no dry run, and a real call would bill"
NO_TRIAL: Final = "CheckoutLicense has no dry run, and a real call would take a seat"
REFUSED: Final = "AWS refuses the dry run, or refused a sidecar that runs here"
STATEMENT: Final = '{"Effect": "Allow", "Action": "aws-marketplace:OPERATION", "Resource": "*"}'
FIXES: Final[Mapping[str, str]] = {
    NO_DRY_RUN: f"The role's policy needs this statement: {STATEMENT.replace('OPERATION', 'RegisterUsage')}\n"
    "From a machine with your own credentials: aws iam simulate-principal-policy --policy-source-arn ROLE_ARN"
    " --action-names aws-marketplace:RegisterUsage",
    NO_TRIAL: "The role's policy needs this statement: "
    f'{{"Effect": "Allow", "Action": {json.dumps(ACTIONS)}, "Resource": "*"}}',
    REFUSED: "{hint}",
    "permission is missing": "{hint} Statement: " + STATEMENT,
}
UNTRIED: Final[Mapping[str, tuple[str, str]]] = {
    "RegisterUsage": ("register_usage", NO_DRY_RUN),
    "CheckoutLicense": ("checkout_license", NO_TRIAL),
}
"""Operation that cannot be tried → the check that asks it, and why it cannot."""
ASKED: Final = "access_denied"
"""The reason of the gate that is about permission."""
PASSING: Final = ("hour_already_metered", "throttled", "aws_failing")
"""Reasons that say nothing against this container, and pass by themselves."""


def check(context: Context) -> Finding:
    """Return what a dry run of each dimension was answered, and what is known of RegisterUsage."""
    settings = context.settings
    assert settings is not None  # the table has it checked before
    parts = [_first(context.running, one) for one in context.operations if one in UNTRIED]
    with context.sdk_environment():
        parts += [_meter(context, settings.product_code, dimension) for dimension in context.metered_dimensions]
    return _summed_up(parts)


def _summed_up(parts: list[Finding]) -> Finding:
    """Return one finding; what RegisterUsage needs stays in the fix where it could not be checked."""
    found = Finding.summed_up(RULE, parts)
    statement = [part.fix for part in parts if part.status is Status.SKIP]
    if found.status is Status.PASS and statement:
        return Finding(status=found.status, seen=found.seen, rule=RULE, fix=statement[0])
    return found


def _first(running: RunningSidecar, operation: str) -> Finding:
    """Return what is known of an operation without asking: the answer to a sidecar that runs here."""
    check, why = UNTRIED[operation]
    entitlement = running.section("entitlement")
    if entitlement.get("entitlement_check") != check:
        return skipped(RULE, f"{why}; no sidecar runs here that was answered", FIXES[why])
    reason, hint = str(entitlement.get("reason")), str(entitlement.get("hint"))
    if reason == ASKED:
        return failed(RULE, f"{operation}: the sidecar that runs here was denied ({reason})", masked(hint))
    if entitlement.get("entitled") is True and not entitlement.get("kept_answer"):
        return passed(RULE, f"{operation}: the sidecar that runs here was answered")
    return skipped(RULE, f"{why}; the sidecar that runs here shows {reason}", FIXES[why])


def _meter(context: Context, product_code: str, dimension: Dimension) -> Finding:
    found = dry_run(context.marketplace, product_code, dimension, context.marketplace_now(), host_now=context.now())
    name = f"MeterUsage, dry run of {dimension.name}"
    if isinstance(found, Passed):
        return passed(RULE, f"{name}: allowed")
    return judged(name, found, failure_hint(context, found, dimension.name))


def judged(name: str, found: CallFailed, hint: str) -> Finding:
    """Return the finding about a dry run that did not pass. `hint`: filled in."""
    seen = f"{name}: {found.code} ({found.row.reason})"
    if found.row.reason == ASKED:
        statement = STATEMENT.replace("OPERATION", "MeterUsage")
        return failed(RULE, seen, masked(f"{hint}\nStatement: {statement}"))
    if found.row.reason in PASSING:
        return warned(RULE, seen, masked(hint))
    return failed(RULE, seen, masked(hint))
