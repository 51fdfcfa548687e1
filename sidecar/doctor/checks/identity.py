"""Check as whom AWS sees this container: `sts:GetCallerIdentity`, which needs no permission.

Invariants:
- boto3 asks with the session that the metering client has: the same credentials, in the same region.
- An STS that cannot be reached is a failure where IRSA needs it, else a warning: `run` asks it only for IRSA.
- Account numbers are masked up to their last four digits.

Sources: AWS STS API Reference, GetCallerIdentity; IAM user guide, "IAM identifiers" (ARNs of roles, users and root).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sidecar.doctor.context import IRSA_VARIABLES, STS, Context
from sidecar.doctor.finding import Finding, failed, passed, warned
from sidecar.doctor.hints import failure_hint
from sidecar.doctor.masking import masked, masked_account
from sidecar.entitlement.answer import AnsweredBy
from sidecar.marketplace.sdk_errors import CallFailed, call_failed
from sidecar.platform.ecs import Task

RULE: Final = "AWS sees the role that was given to this pod or task, and neither a user nor the node."
USER: Final = "a user or the account's root"
NODE: Final = "the node's role"
OTHER_ROLE: Final = "another role than AWS_ROLE_ARN"
OTHER_ACCOUNT: Final = "another account than the task's"
EXPIRED: Final = "the credentials have expired"
DENIED: Final = "GetCallerIdentity is denied"
REFUSED: Final = "AWS or the SDK refuses"
NOT_NEEDED: Final = "STS cannot be asked, and is not needed"
FIXES: Final[Mapping[str, str]] = {
    USER: "Remove the access keys from the container, and give the pod an IRSA role or the task a task role.",
    NODE: "Give the pod's service account an IRSA role, or the task a taskRoleArn: metering does not accept the node's"
    " role.",
    OTHER_ROLE: "Remove whatever else gives credentials (access keys, AWS_CONTAINER_CREDENTIALS_*), so that"
    " AWS_ROLE_ARN is used.",
    OTHER_ACCOUNT: "Use a task role of the account in which the task runs: its subscription counts.",
    EXPIRED: "Restart the pod or task, and check the node's clock and the volume of the service-account token.",
    DENIED: "Let the VPC endpoint's policy for STS allow sts:GetCallerIdentity; nothing else can deny it.",
    REFUSED: "{hint}",
    NOT_NEEDED: "{hint}",
}
INSTANCE: Final = re.compile(r"i-[0-9a-f]{8,17}")
"""The session name of an instance's own role."""


def check(context: Context) -> Finding:
    """Return account and role as AWS sees them."""
    with context.sdk_environment():
        try:
            answer = _ask(context)
        except Exception as exc:  # whatever the SDK raises
            return _refused(context, call_failed(exc, AnsweredBy.METER_USAGE, context.now()))
    return judged(
        answer["Arn"], answer["Account"], context.env, context.task, metering=context.operations != ("CheckoutLicense",)
    )


def _ask(context: Context) -> Any:
    import boto3

    settings = context.settings
    session = boto3.session.Session(botocore_session=context.marketplace.session())
    endpoint = settings.endpoint_url if settings else None
    return session.client(STS, region_name=context.marketplace.region, endpoint_url=endpoint).get_caller_identity()


def _refused(context: Context, failure: CallFailed) -> Finding:
    seen = f"{failure.code} from {context.marketplace.last_host()}"
    hint = failure_hint(context, failure)
    if failure.code in ("ExpiredToken", "ExpiredTokenException"):
        hint = FIXES[EXPIRED]
    elif failure.code in ("AccessDenied", "AccessDeniedException"):
        hint = FIXES[DENIED]
    elif failure.row.unreachable and not (context.irsa or context.by_license_token):
        return warned(RULE, f"{NOT_NEEDED}: {seen}", hint)
    return failed(RULE, seen, masked(hint))


def judged(arn: str, account: str, env: Mapping[str, str], task: Task | None, metering: bool = True) -> Finding:
    """Return the finding about an identity, as AWS names it. `metering`: License Manager takes a node's role too."""
    seen = f"account {masked_account(account)}, {masked(arn)}"
    kind, _, name = arn.rpartition(":")[2].partition("/")
    role, _, session = name.partition("/")
    if kind != "assumed-role":
        return failed(RULE, f"{USER}: {seen}", FIXES[USER])
    if metering and INSTANCE.fullmatch(session):
        return failed(RULE, f"{NODE}: {seen}", FIXES[NODE])
    wanted = env.get(IRSA_VARIABLES[0], "").rpartition("/")[2]
    if wanted and wanted != role:
        return failed(RULE, f"{OTHER_ROLE} ({wanted}): {seen}", FIXES[OTHER_ROLE])
    if task and task.account and task.account != account:
        return warned(RULE, f"{OTHER_ACCOUNT} ({masked_account(task.account)}): {seen}", FIXES[OTHER_ACCOUNT])
    return passed(RULE, seen)
