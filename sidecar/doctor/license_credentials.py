"""Judge the source of credentials where License Manager is asked: any role of the account that holds the license.

Invariants:
- IRSA, EKS Pod Identity, the task role, an instance's role and a license's refresh token are all accepted: nothing
  binds a license to a pod.
- Access keys are accepted by AWS and a warning here: they do not expire, and anyone who reads the container has them.

Sources: AWS Marketplace seller guide, "Integrating your container products with License Manager" (credentials) and
"Integrating an AWS Marketplace for Containers Anywhere product with License Manager".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.finding import Finding, failed, passed, warned
from sidecar.marketplace import credentials
from sidecar.marketplace.license_access import VARIABLES

RULE: Final = "License Manager takes the credentials of any role of the account that holds the license."
KEYS: Final = "access keys, where a license is checked out"
NONE: Final = "no credentials, where a license is checked out"
FIXES: Final[Mapping[str, str]] = {
    KEYS: "Remove AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN from the container, and give it a"
    " role: keys do not end.",
    NONE: "EKS: annotate serviceaccount {account} -n {namespace} with eks.amazonaws.com/role-arn, or create a Pod"
    " Identity association for it; then recreate the pod. ECS: set taskRoleArn. Outside AWS: mount the license's"
    " secret, and set AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE and AWS_ROLE_ARN.",
}


def judged(method: str | None, env: Mapping[str, str], shown: str) -> Finding:
    """Return the finding about what the SDK resolved; `shown`: which variables are set."""
    if method is None:
        places = {
            "account": env.get("SERVICE_ACCOUNT") or "ACCOUNT",
            "namespace": env.get("POD_NAMESPACE") or "NAMESPACE",
        }
        return failed(RULE, f"{NONE}; {shown}", FIXES[NONE].format(**places))
    found = credentials.source(method, env, metering=False)
    role = f", {found.role}" if found.role else ""
    seen = f"{found.name}{role} (the SDK's {method})"
    if method == "env":
        return warned(RULE, f"{seen}; {shown}", FIXES[KEYS])
    return passed(RULE, f"{seen}, accepted for CheckoutLicense")


def variables(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables that name a license's refresh token, as far as they are set."""
    return tuple(name for name in VARIABLES if env.get(name))
