"""Name the source of the credentials, and say where AWS Marketplace metering does not support it.

Metering wants IRSA on EKS and the task role on ECS; AWS tells the pod or task from them. Any other source ends in one
of several refusals, so the caution stands beside whatever AWS answers.

Invariants:
- License Manager binds nothing to a pod: it takes IRSA, Pod Identity, the task role and any other role alike.
- No key, token or secret is read here, only which method found them.

Sources: AWS Marketplace API Reference, RegisterUsage; EKS user guide, IRSA and Pod Identity; botocore's credential
resolver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.quick_dataclasses import dataclass, replace

POD_IDENTITY_MARK: Final = "pods.eks.amazonaws.com"
ECS_VARIABLE: Final = "ECS_CONTAINER_METADATA_URI_V4"
POD_IDENTITY_HOSTS: Final = ("169.254.170.23", "fd00:ec2::23")


@dataclass(frozen=True, kw_only=True)
class CredentialSource:
    """The source of the credentials, in an operator's words."""

    name: str
    role: str
    """Role ARN where known, else empty."""
    caution: str
    """Why AWS Marketplace metering may refuse it; empty where it is supported."""


UNSUPPORTED: Final[Mapping[str, tuple[str, str]]] = {
    "env": (
        "access keys in the environment",
        "Access keys in the environment win over IRSA and the task role, and metering does not accept them: remove"
        " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    ),
    "iam-role": (
        "the node's instance role",
        "Metering does not accept the node's role. EKS: use IRSA. ECS: set taskRoleArn. On AgentCore Runtime this"
        " may be the execution role, which is right there.",
    ),
}
NO_TASK_ROLE: Final = (
    "This task has no task role, so the SDK fell back to the instance's role, which metering does not accept: set"
    " taskRoleArn (executionRoleArn is the agent's own), register the definition again, and update the service."
)
OTHER: Final = "Metering accepts IRSA on EKS and the task role on ECS only."


def source(method: str | None, env: Mapping[str, str], metering: bool = True) -> CredentialSource:
    """Return what botocore's credential method means here; `method` is None where there are none.

    `metering`: whether metering is asked; License Manager has no caution.
    """
    found = _source(method, env)
    return found if metering else replace(found, caution="")


def _source(method: str | None, env: Mapping[str, str]) -> CredentialSource:
    role = env.get("AWS_ROLE_ARN", "")
    if method == "license-token":
        return CredentialSource(name="the license's refresh token", role=role, caution="")
    if method is None:
        return CredentialSource(name="none", role=role, caution="")
    if method == "assume-role-with-web-identity":
        return CredentialSource(name="IRSA (web identity)", role=role, caution="")
    if method == "container-role" and pod_identity(env):
        caution = (
            "EKS Pod Identity is not supported for metering. Delete the Pod Identity association of this service"
            " account (it wins over IRSA), annotate the account with an IRSA role, and recreate the pod."
        )
        return CredentialSource(name="EKS Pod Identity", role="", caution=caution)
    if method == "container-role":
        return CredentialSource(name="the ECS task role", role="", caution="")
    name, caution = UNSUPPORTED.get(method, (method, OTHER))
    if method == "iam-role" and ECS_VARIABLE in env:
        caution = NO_TASK_ROLE
    return CredentialSource(name=name, role="", caution=caution)


def pod_identity(env: Mapping[str, str]) -> bool:
    """Return whether the container credentials are those of EKS Pod Identity."""
    address = env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    token = env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    return POD_IDENTITY_MARK in token or any(host in address for host in POD_IDENTITY_HOSTS)
