"""Tell what a hint says of this workload and of who was asked: service account, region, host, role, what follows.

Invariants:
- A remedy is one that can help here: a pod without a role is not told to be recreated before it has one, and a sidecar
  that ends is not said to ask again.
- Only variables that the platform or the operator sets are read; nothing is asked.

Sources: EKS user guide, "IAM roles for service accounts"; amazon-eks-pod-identity-webhook, README (what it sets, and
`--aws-default-region`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sidecar.entitlement.hold import ENDS
from sidecar.platform import ecs, eks
from sidecar.platform.identity import REGION_VARIABLES
from sidecar.settings import OnDenied

if TYPE_CHECKING:
    from sidecar.gate.method import NotAllowed
    from sidecar.marketplace.client import Marketplace
    from sidecar.marketplace.sdk_errors import CallFailed

ROLE_VARIABLE: Final = "AWS_ROLE_ARN"
"""Set by the webhook of IRSA, in pods that were created after their service account got its annotation."""
ANNOTATION: Final = "eks.amazonaws.com/role-arn"


def hint_facts(env: Mapping[str, str], on_denied: str, reask_seconds: int) -> dict[str, str]:
    """Return placeholders of hints and what stands for them; an empty text where it is not known."""
    namespace, account = env.get("POD_NAMESPACE", ""), env.get("SERVICE_ACCOUNT", "")
    known = bool(namespace and account)
    return {
        "again": _again(on_denied, reask_seconds),
        "service_account": f"the service account {namespace}/{account}" if known else "",
        "subject": f"system:serviceaccount:{namespace}:{account}" if known else "",
        "region_fix": _region_fix(env, namespace, account),
    }


def caller_of(marketplace: Marketplace, refused: CallFailed | None) -> dict[str, str]:
    """Return the fields of a result that say who was asked, and as whom."""
    credentials = marketplace.credential_source()
    return {
        "host": marketplace.host(),
        "partition": marketplace.partition(),
        "credential_source": credentials.name,
        "credential_caution": credentials.caution,
        "role": credentials.role or (refused.caller if refused else ""),
    }


def answer_facts(
    region: str, caller: Mapping[str, str], marketplace: Marketplace, found: NotAllowed
) -> Mapping[str, str]:
    """Return what an answer of AWS adds to the placeholders of its hint. `caller`: as `caller_of` returns it."""
    skew = found.reply.skew_seconds if found.reply else None
    direction = "ahead of" if skew and skew > 0 else "behind"
    return {
        "host": marketplace.last_host(),
        "metering_host": caller["host"],
        "sts_host": marketplace.sts_host(),
        "region": region,
        "role": caller["role"],
        "partition": caller["partition"],
        "skew": f"This host is {abs(skew)} s {direction} AWS." if skew else "",
        "dimension": found.dimension,
        "license": found.license,
    }


def _again(on_denied: str, reask_seconds: int) -> str:
    if on_denied == OnDenied.EXIT.value:
        return ENDS
    if reask_seconds == 0:
        return "then run `entitlement-sidecar recheck`: SIDECAR_REASK_SECONDS=0 keeps the sidecar from asking again"
    return ""


def _region_fix(env: Mapping[str, str], namespace: str, account: str) -> str:
    for variable in REGION_VARIABLES:
        if env.get(variable, "").strip():
            return f"{variable} is {env[variable]!r}. Remove it from the container; the platform sets it."
    if ecs.on_ecs(env):
        return "The ECS task metadata endpoint (ECS_CONTAINER_METADATA_URI_V4), which names it, must be readable."
    if not eks.in_kubernetes(env):
        return "Neither a pod nor an ECS task is seen here. Set AWS_REGION."
    if env.get(ROLE_VARIABLE):
        return (
            f"The IRSA webhook has set {ROLE_VARIABLE} and no AWS_REGION: give the webhook the cluster's region"
            " (--aws-default-region) and recreate the pod; recreating it alone changes nothing."
        )
    name, scope = account or "NAME", f" -n {namespace}" if namespace else ""
    return (
        f"The IRSA webhook would set it, and has set nothing in this pod: annotate its service account first"
        f" (`kubectl annotate serviceaccount {name}{scope} {ANNOTATION}=ROLE_ARN`), then recreate the pod."
    )
