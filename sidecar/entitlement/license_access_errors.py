"""Hold the rows of the error table for credentials from a license's refresh token: two calls, and its file.

Invariants:
- What STS refuses here has rows of its own: there is no service account and no OIDC provider of a cluster to look at.

Sources: AWS License Manager API Reference, GetAccessToken, Errors; AWS STS API Reference, AssumeRoleWithWebIdentity,
Errors; AWS Marketplace seller guide, "Integrating an AWS Marketplace for Containers Anywhere product with License
Manager"; botocore's service models.
"""

from __future__ import annotations

from typing import Final

from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.aws_errors import SDK, WAITS

ACCESS_TOKEN: Final = (AnsweredBy.ACCESS_TOKEN,)
LICENSE_ROLE: Final = (AnsweredBy.LICENSE_ROLE,)
BOTH: Final = (*ACCESS_TOKEN, *LICENSE_ROLE)
CREATE_AGAIN: Final = (
    " Create the license's token again on the product's launch page in AWS Marketplace (it lasts a year), put it into"
    " the secret, and restart the pod."
)
TRUST: Final = (
    "Fix the trust policy of {role}: federated principal openid-license-manager.amazonaws.com, and the conditions that"
    " the product's launch page shows."
)

ROWS: Final[tuple[ErrorRow, ...]] = (
    ErrorRow.of(
        "LicenseTokenUnreadable",
        SDK,
        AnswerClass.CONFIG,
        "license_token_unreadable",
        "The file that AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE or AWS_LICENSE_ACCESS_FILE names holds no refresh token that"
        " can be read. Check that the license's secret has the key license_token, and is mounted there.",
    ),
    ErrorRow.of(
        "LicenseRoleMissing",
        SDK,
        AnswerClass.CONFIG,
        "license_role_missing",
        "AWS_ROLE_ARN is not set beside the license's refresh token. Take it from the key iam_role of the license's"
        " secret.",
    ),
    ErrorRow.of(
        "AuthorizationException AccessDeniedException AccessDenied ValidationException ExpiredTokenException",
        ACCESS_TOKEN,
        AnswerClass.CONFIG,
        "license_token_refused",
        "License Manager does not accept the license's refresh token: it ended, or was deleted." + CREATE_AGAIN,
    ),
    ErrorRow.of(
        "InvalidIdentityToken ExpiredTokenException IDPRejectedClaim",
        LICENSE_ROLE,
        AnswerClass.CONFIG,
        "license_access_token_refused",
        "STS does not accept the access token that License Manager gave. Check the node's clock, and that {role} is of"
        " the account that the license's token is of." + CREATE_AGAIN + " {skew}",
        once_more=True,
    ),
    ErrorRow.of(
        "AccessDenied AccessDeniedException",
        LICENSE_ROLE,
        AnswerClass.CONFIG,
        "license_role_refused",
        TRUST,
    ),
    ErrorRow.of(
        "IDPCommunicationError",
        LICENSE_ROLE,
        AnswerClass.RETRY,
        "license_issuer_unreachable",
        WAITS + " STS could not reach License Manager's OpenID provider.",
    ),
    ErrorRow.of(
        "ValidationError",
        LICENSE_ROLE,
        AnswerClass.CONFIG,
        "role_arn_malformed",
        "Correct AWS_ROLE_ARN, which the license's secret has under iam_role: {role}.",
    ),
    ErrorRow.of(
        "RegionDisabledException",
        LICENSE_ROLE,
        AnswerClass.CONFIG,
        "sts_region_disabled",
        "Activate STS for {region} in the account.",
    ),
    ErrorRow.of(
        "PackedPolicyTooLarge MalformedPolicyDocument",
        LICENSE_ROLE,
        AnswerClass.CONFIG,
        "session_policy_refused",
        "Remove session policies and tags from the role session of {role}.",
    ),
    ErrorRow.of(
        "RateLimitExceededException",
        ACCESS_TOKEN,
        AnswerClass.RETRY,
        "throttled",
        WAITS + " If it lasts, start fewer copies at once.",
    ),
    ErrorRow.of(
        "ServerInternalException",
        ACCESS_TOKEN,
        AnswerClass.RETRY,
        "aws_failing",
        WAITS + " {host} is failing; see the AWS Health Dashboard for {region}.",
    ),
)
