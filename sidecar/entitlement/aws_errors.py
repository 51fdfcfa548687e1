"""Hold the rows of the error table for what AWS answers: RegisterUsage, MeterUsage, STS, and any of its services.

What License Manager alone answers: `license_errors`.

Sources: AWS Marketplace API Reference, RegisterUsage and MeterUsage, Errors; AWS STS API Reference,
AssumeRoleWithWebIdentity, Errors; "Common error types"; botocore's service models.
"""

from __future__ import annotations

from typing import Final

from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow

LICENSES: Final = (
    AnsweredBy.CHECKOUT_LICENSE,
    AnsweredBy.CHECK_IN_LICENSE,
    AnsweredBy.EXTEND_LICENSE,
    AnsweredBy.GET_LICENSE,
)
MARKETPLACE: Final = (AnsweredBy.REGISTER_USAGE, AnsweredBy.METER_USAGE)
LICENSE_ACCESS: Final = (AnsweredBy.ACCESS_TOKEN, AnsweredBy.LICENSE_ROLE)
AWS: Final = (*MARKETPLACE, *LICENSES, *LICENSE_ACCESS, AnsweredBy.STS)
REGISTER: Final = (AnsweredBy.REGISTER_USAGE,)
METER: Final = (AnsweredBy.METER_USAGE,)
STS: Final = (AnsweredBy.STS,)
SDK: Final = (AnsweredBy.SDK,)
SUBSCRIBE: Final = (
    "AWS says that this account has no subscription to the product. Subscribe it in AWS Marketplace; {again}."
)
ROLE: Final = "On EKS use IRSA on the pod's service account, on ECS the task role (taskRoleArn)."
WAITS: Final = "Nothing to do at first; it is retried."
TRUST: Final = (
    "Fix the trust policy of {role}: federated principal is this cluster's OIDC provider, audience"
    " sts.amazonaws.com, subject {subject}."
)
CLOCK: Final = "Synchronise the node's clock (Amazon Time Sync, chrony). {skew}"
VENDOR: Final = "AWS cannot read the request: upgrade the product, and report this to its vendor."
NOT_AWS: Final = (
    "What answers for {host} is not AWS. Look for a proxy, a captive portal or a wrong DNS entry in between."
)
REGION: Final = (
    "AWS was asked in {region} ({host}), but the workload runs in another region. Remove AWS_REGION and"
    " AWS_DEFAULT_REGION from the container; the platform sets them."
)
ALLOW: Final = (
    'Allow aws-marketplace:OPERATION on Resource "*" for {role} (partition {partition}); also look at permission'
    " boundaries, SCPs and VPC endpoint policies."
)

ROWS: Final[tuple[ErrorRow, ...]] = (
    # AWS Marketplace says no.
    ErrorRow.of(
        "CustomerNotEntitledException CustomerNotSubscribedException",
        MARKETPLACE,
        AnswerClass.DENY,
        "customer_not_entitled",
        SUBSCRIBE,
    ),
    ErrorRow.of(
        "PlatformNotSupportedException",
        MARKETPLACE,
        AnswerClass.DENY,
        "platform_not_supported",
        "AWS does not see a supported platform behind these credentials ({role}). " + ROLE + " EKS Pod Identity,"
        " node roles and access keys are not supported, nor is a machine outside ECS and EKS. On Bedrock AgentCore"
        " Runtime set SIDECAR_PLATFORM=agentcore.",
    ),
    ErrorRow.of(
        "InvalidProductCodeException",
        MARKETPLACE,
        AnswerClass.DENY,
        "invalid_product_code",
        "AWS does not know this product code. Use the one shown for the listing, not the product ID.",
    ),
    ErrorRow.of(
        "InvalidPublicKeyVersionException InvalidPublicKeyException",
        REGISTER,
        AnswerClass.DENY,
        "invalid_public_key_version",
        "AWS does not know this public key version for the product. Set the version that was issued with it,"
        " and ship the matching key.",
    ),
    ErrorRow.of(
        "InvalidUsageDimensionException",
        METER,
        AnswerClass.DENY,
        "invalid_usage_dimension",
        "The listing has no dimension with the API name {dimension}. Use a name that is on the listing.",
    ),
    ErrorRow.of(
        "InvalidTagException InvalidUsageAllocationsException IdempotencyConflictException",
        METER,
        AnswerClass.DENY,
        "request_malformed",
        VENDOR,
    ),
    # AWS Marketplace cannot, until a person changes something.
    ErrorRow.of("InvalidRegionException", REGISTER, AnswerClass.CONFIG, "invalid_region", REGION),
    ErrorRow.of("InvalidEndpointRegionException", METER, AnswerClass.CONFIG, "invalid_region", REGION),
    ErrorRow.of("TimestampOutOfBoundsException", METER, AnswerClass.CONFIG, "clock_skew", CLOCK),
    ErrorRow.of(
        "DisabledApiException",
        MARKETPLACE,
        AnswerClass.CONFIG,
        "api_disabled",
        "AWS Marketplace metering is not offered in {region} (partition {partition}). Run the product in a region"
        " where it is.",
    ),
    ErrorRow.of(
        "AccessDeniedException",
        REGISTER,
        AnswerClass.CONFIG,
        "access_denied",
        ALLOW.replace("OPERATION", "RegisterUsage"),
    ),
    ErrorRow.of(
        "UnauthorizedException AccessDeniedException AccessDenied UnauthorizedOperation",
        METER,
        AnswerClass.CONFIG,
        "access_denied",
        ALLOW.replace("OPERATION", "MeterUsage"),
    ),
    # This hour is settled already, which says nothing against the workload.
    ErrorRow.of(
        "DuplicateRequestException",
        METER,
        AnswerClass.RETRY,
        "hour_already_metered",
        "AWS holds a record of {dimension} for this hour already and compares a dry run with it. "
        + WAITS
        + " It passes"
        " with the next hour.",
    ),
    # Credentials and signatures, as AWS sees them.
    ErrorRow.of(
        "ExpiredTokenException",
        (*MARKETPLACE, *LICENSES),
        AnswerClass.CONFIG,
        "credentials_expired",
        "The credentials of {role} have expired and were not renewed. Restart the pod or task; check the node's"
        " clock. {skew}",
        once_more=True,
    ),
    ErrorRow.of(
        "ExpiredTokenException",
        STS,
        AnswerClass.CONFIG,
        "web_identity_token_expired",
        "The service-account token has expired: it is no longer being renewed. Check that the token volume is"
        " mounted and the node's clock is right, and restart the pod.",
        once_more=True,
    ),
    ErrorRow.of(
        "UnrecognizedClientException InvalidClientTokenId",
        AWS,
        AnswerClass.CONFIG,
        "credentials_unknown",
        "AWS does not know these credentials. Remove static AWS keys from the container. " + ROLE,
        once_more=True,
    ),
    ErrorRow.of(
        "MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature"
        " IncompleteSignatureException",
        AWS,
        AnswerClass.CONFIG,
        "request_unsigned",
        "The request reached {host} without its signature. Look for a proxy that strips or rewrites headers.",
    ),
    ErrorRow.of(
        "InvalidSignatureException SignatureDoesNotMatch",
        AWS,
        AnswerClass.CONFIG,
        "signature_mismatch",
        "AWS computes another signature. Remove static AWS keys, and look for a proxy that rewrites requests.",
    ),
    ErrorRow.of(
        "InvalidSignatureException:clock SignatureDoesNotMatch:clock",
        AWS,
        AnswerClass.RETRY,
        "clock_skew",
        CLOCK,
        unreachable=False,
    ),
    ErrorRow.of("RequestTimeTooSkewed RequestExpired", AWS, AnswerClass.CONFIG, "clock_skew", CLOCK),
    ErrorRow.of(
        "RuntimeError:clock",
        SDK,
        AnswerClass.CONFIG,
        "clock_skew",
        "Credentials that were just issued look expired here: the node's clock is far ahead. Synchronise it (Amazon"
        " Time Sync, chrony).",
    ),
    ErrorRow.of(
        "OptInRequired AuthFailure NotAuthorized",
        AWS,
        AnswerClass.CONFIG,
        "account_refused",
        "Check that the AWS account is active and opted in to {region}.",
    ),
    # STS, for IRSA.
    ErrorRow.of("AccessDenied AccessDeniedException", STS, AnswerClass.CONFIG, "trust_policy_refused", TRUST),
    ErrorRow.of(
        "InvalidIdentityToken",
        STS,
        AnswerClass.CONFIG,
        "oidc_provider_missing",
        "STS does not accept the service-account token. Create the IAM OIDC provider of this cluster in the"
        " account of {role}.",
    ),
    ErrorRow.of(
        "IDPRejectedClaim",
        STS,
        AnswerClass.CONFIG,
        "web_identity_token_rejected",
        "Check audience (sts.amazonaws.com) and expiry of the service-account token.",
    ),
    ErrorRow.of(
        "IDPCommunicationError",
        STS,
        AnswerClass.RETRY,
        "oidc_provider_unreachable",
        WAITS + " If it lasts, check that the cluster's OIDC issuer can be reached from the internet.",
    ),
    ErrorRow.of(
        "ValidationError",
        STS,
        AnswerClass.CONFIG,
        "role_arn_malformed",
        "Correct the eks.amazonaws.com/role-arn annotation of the service account: {role}.",
    ),
    ErrorRow.of(
        "RegionDisabledException",
        STS,
        AnswerClass.CONFIG,
        "sts_region_disabled",
        "Activate STS for {region} in the account.",
    ),
    ErrorRow.of(
        "PackedPolicyTooLarge MalformedPolicyDocument",
        STS,
        AnswerClass.CONFIG,
        "session_policy_refused",
        "Remove session policies and tags from the role session of {role}.",
    ),
    # Malformed.
    ErrorRow.of(
        "ValidationException",
        (*MARKETPLACE, AnsweredBy.STS, AnsweredBy.LICENSE_ROLE),
        AnswerClass.DENY,
        "request_malformed",
        VENDOR,
    ),
    ErrorRow.of(
        "SerializationException UnknownOperationException",
        AWS,
        AnswerClass.DENY,
        "request_malformed",
        VENDOR,
    ),
    ErrorRow.of(
        "301 302 307 308 400 401 403 404 405 407 411 413",
        AWS,
        AnswerClass.CONFIG,
        "answer_not_from_aws",
        NOT_AWS,
    ),
    ErrorRow.of("200", (*METER, *LICENSES), AnswerClass.CONFIG, "answer_not_from_aws", NOT_AWS),
    # AWS is busy or broken.
    ErrorRow.of(
        "ThrottlingException Throttling TooManyRequestsException RequestLimitExceeded 429",
        AWS,
        AnswerClass.RETRY,
        "throttled",
        WAITS + " If it lasts, start fewer copies at once.",
    ),
    ErrorRow.of(
        "InternalServiceErrorException InternalFailure InternalError ServiceUnavailable"
        " ServiceUnavailableException RequestTimeout RequestTimeoutException 408 500 502 503 504",
        AWS,
        AnswerClass.RETRY,
        "aws_failing",
        WAITS + " {host} is failing; see the AWS Health Dashboard for {region}.",
    ),
)
