"""Hold the error table as data: code → class, reason and hint, by who gave the answer.

Invariants:
- One row per code and operation; a test compares the rows with botocore's service model, so that an error AWS adds
  fails the build until it has a row.
- Hints are for the operator at 3 a.m.: what to change, where. `{host}`, `{metering_host}`, `{sts_host}`, `{region}`,
  `{role}`, `{partition}`, `{dimension}` are filled in with what was really used.
- Rows of MeterUsage are for a dry run, which has no row where it passes; what an error means for a usage record is
  another table (`metering.dispositions`).

Sources: AWS Marketplace API Reference, RegisterUsage and MeterUsage, Errors; AWS STS API Reference,
AssumeRoleWithWebIdentity, Errors; "Common error types"; botocore's service models and exceptions.
"""

from __future__ import annotations

from typing import Final

from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow

AWS: Final = (AnsweredBy.REGISTER_USAGE, AnsweredBy.METER_USAGE, AnsweredBy.STS)
MARKETPLACE: Final = (AnsweredBy.REGISTER_USAGE, AnsweredBy.METER_USAGE)
REGISTER: Final = (AnsweredBy.REGISTER_USAGE,)
METER: Final = (AnsweredBy.METER_USAGE,)
STS: Final = (AnsweredBy.STS,)
SDK: Final = (AnsweredBy.SDK,)
TOKEN: Final = (AnsweredBy.TOKEN,)


SUBSCRIBE: Final = (
    "AWS says that this account has no subscription to the product. Subscribe it in AWS Marketplace; the"
    " sidecar asks again by itself, or at once with `entitlement-sidecar recheck`."
)
ROLE: Final = "On EKS use IRSA on the pod's service account, on ECS the task role (taskRoleArn)."
ROUTE: Final = "Allow outbound HTTPS to {metering_host} and {sts_host} (NAT, proxy, firewall, security group)."
WAITS: Final = "Nothing to do at first; it is retried."
TRUST: Final = (
    "Fix the trust policy of {role}: federated principal is this cluster's OIDC provider, audience"
    " sts.amazonaws.com, subject system:serviceaccount:NAMESPACE:SERVICE_ACCOUNT."
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


def _row(
    codes: str,
    asked: tuple[AnsweredBy, ...],
    answer: AnswerClass,
    reason: str,
    hint: str,
    *,
    once_more: bool = False,
    unreachable: bool | None = None,
) -> ErrorRow:
    gone = answer in (AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG) if unreachable is None else unreachable
    return ErrorRow(
        codes=tuple(codes.split()),
        asked=asked,
        answer=answer,
        reason=reason,
        hint=hint,
        once_more=once_more,
        unreachable=gone,
    )


ROWS: Final[tuple[ErrorRow, ...]] = (
    # AWS Marketplace says no.
    _row(
        "CustomerNotEntitledException CustomerNotSubscribedException",
        MARKETPLACE,
        AnswerClass.DENY,
        "customer_not_entitled",
        SUBSCRIBE,
    ),
    _row(
        "PlatformNotSupportedException",
        MARKETPLACE,
        AnswerClass.DENY,
        "platform_not_supported",
        "AWS does not see a supported platform behind these credentials ({role}). " + ROLE + " EKS Pod Identity,"
        " node roles and access keys are not supported, nor is a machine outside ECS and EKS.",
    ),
    _row(
        "InvalidProductCodeException",
        MARKETPLACE,
        AnswerClass.DENY,
        "invalid_product_code",
        "AWS does not know this product code. Use the one shown for the listing, not the product ID.",
    ),
    _row(
        "InvalidPublicKeyVersionException InvalidPublicKeyException",
        REGISTER,
        AnswerClass.DENY,
        "invalid_public_key_version",
        "AWS does not know this public key version for the product. Set the version that was issued with it,"
        " and ship the matching key.",
    ),
    _row(
        "InvalidUsageDimensionException",
        METER,
        AnswerClass.DENY,
        "invalid_usage_dimension",
        "The listing has no dimension with the API name {dimension}. Use a name that is on the listing.",
    ),
    _row(
        "InvalidTagException InvalidUsageAllocationsException IdempotencyConflictException",
        METER,
        AnswerClass.DENY,
        "request_malformed",
        VENDOR,
    ),
    # AWS Marketplace cannot, until a person changes something.
    _row("InvalidRegionException", REGISTER, AnswerClass.CONFIG, "invalid_region", REGION),
    _row("InvalidEndpointRegionException", METER, AnswerClass.CONFIG, "invalid_region", REGION),
    _row("TimestampOutOfBoundsException", METER, AnswerClass.CONFIG, "clock_skew", CLOCK),
    _row(
        "DisabledApiException",
        MARKETPLACE,
        AnswerClass.CONFIG,
        "api_disabled",
        "AWS Marketplace metering is not offered in {region} (partition {partition}). Run the product in a region"
        " where it is.",
    ),
    _row(
        "AccessDeniedException",
        REGISTER,
        AnswerClass.CONFIG,
        "access_denied",
        ALLOW.replace("OPERATION", "RegisterUsage"),
    ),
    _row(
        "UnauthorizedException AccessDeniedException AccessDenied UnauthorizedOperation",
        METER,
        AnswerClass.CONFIG,
        "access_denied",
        ALLOW.replace("OPERATION", "MeterUsage"),
    ),
    # This hour is settled already, which says nothing against the workload.
    _row(
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
    _row(
        "ExpiredTokenException",
        MARKETPLACE,
        AnswerClass.CONFIG,
        "credentials_expired",
        "The credentials of {role} have expired and were not renewed. Restart the pod or task; check the node's"
        " clock. {skew}",
        once_more=True,
    ),
    _row(
        "ExpiredTokenException",
        STS,
        AnswerClass.CONFIG,
        "web_identity_token_expired",
        "The service-account token has expired: it is no longer being renewed. Check that the token volume is"
        " mounted and the node's clock is right, and restart the pod.",
        once_more=True,
    ),
    _row(
        "UnrecognizedClientException InvalidClientTokenId",
        AWS,
        AnswerClass.CONFIG,
        "credentials_unknown",
        "AWS does not know these credentials. Remove static AWS keys from the container. " + ROLE,
        once_more=True,
    ),
    _row(
        "MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature"
        " IncompleteSignatureException",
        AWS,
        AnswerClass.CONFIG,
        "request_unsigned",
        "The request reached {host} without its signature. Look for a proxy that strips or rewrites headers.",
    ),
    _row(
        "InvalidSignatureException SignatureDoesNotMatch",
        AWS,
        AnswerClass.CONFIG,
        "signature_mismatch",
        "AWS computes another signature. Remove static AWS keys, and look for a proxy that rewrites requests.",
    ),
    _row(
        "InvalidSignatureException:clock SignatureDoesNotMatch:clock",
        AWS,
        AnswerClass.RETRY,
        "clock_skew",
        CLOCK,
        unreachable=False,
    ),
    _row("RequestTimeTooSkewed RequestExpired", AWS, AnswerClass.CONFIG, "clock_skew", CLOCK),
    _row(
        "RuntimeError:clock",
        SDK,
        AnswerClass.CONFIG,
        "clock_skew",
        "Credentials that were just issued look expired here: the node's clock is far ahead. Synchronise it (Amazon"
        " Time Sync, chrony).",
    ),
    _row(
        "OptInRequired AuthFailure NotAuthorized",
        AWS,
        AnswerClass.CONFIG,
        "account_refused",
        "Check that the AWS account is active and opted in to {region}.",
    ),
    # STS, for IRSA.
    _row("AccessDenied AccessDeniedException", STS, AnswerClass.CONFIG, "trust_policy_refused", TRUST),
    _row(
        "InvalidIdentityToken",
        STS,
        AnswerClass.CONFIG,
        "oidc_provider_missing",
        "STS does not accept the service-account token. Create the IAM OIDC provider of this cluster in the"
        " account of {role}.",
    ),
    _row(
        "IDPRejectedClaim",
        STS,
        AnswerClass.CONFIG,
        "web_identity_token_rejected",
        "Check audience (sts.amazonaws.com) and expiry of the service-account token.",
    ),
    _row(
        "IDPCommunicationError",
        STS,
        AnswerClass.RETRY,
        "oidc_provider_unreachable",
        WAITS + " If it lasts, check that the cluster's OIDC issuer can be reached from the internet.",
    ),
    _row(
        "ValidationError",
        STS,
        AnswerClass.CONFIG,
        "role_arn_malformed",
        "Correct the eks.amazonaws.com/role-arn annotation of the service account: {role}.",
    ),
    _row(
        "RegionDisabledException",
        STS,
        AnswerClass.CONFIG,
        "sts_region_disabled",
        "Activate STS for {region} in the account.",
    ),
    _row(
        "PackedPolicyTooLarge MalformedPolicyDocument",
        STS,
        AnswerClass.CONFIG,
        "session_policy_refused",
        "Remove session policies and tags from the role session of {role}.",
    ),
    # Malformed.
    _row(
        "ValidationException SerializationException UnknownOperationException",
        AWS,
        AnswerClass.DENY,
        "request_malformed",
        VENDOR,
    ),
    _row(
        "301 302 307 308 400 401 403 404 405 407 411 413",
        AWS,
        AnswerClass.CONFIG,
        "answer_not_from_aws",
        NOT_AWS,
    ),
    _row("200", METER, AnswerClass.CONFIG, "answer_not_from_aws", NOT_AWS),
    # AWS is busy or broken.
    _row(
        "ThrottlingException Throttling TooManyRequestsException RequestLimitExceeded 429",
        AWS,
        AnswerClass.RETRY,
        "throttled",
        WAITS + " If it lasts, start fewer copies at once.",
    ),
    _row(
        "InternalServiceErrorException InternalFailure InternalError ServiceUnavailable"
        " ServiceUnavailableException RequestTimeout RequestTimeoutException 408 500 502 503 504",
        AWS,
        AnswerClass.RETRY,
        "aws_failing",
        WAITS + " {host} is failing; see the AWS Health Dashboard for {region}.",
    ),
    # The SDK got no answer.
    _row(
        "NoCredentialsError",
        SDK,
        AnswerClass.CONFIG,
        "no_credentials",
        "The container has no AWS credentials. EKS: annotate the service account with an IRSA role and recreate the"
        " pod (annotating a running one does nothing). ECS: set taskRoleArn, not only executionRoleArn.",
    ),
    _row(
        "PartialCredentialsError",
        SDK,
        AnswerClass.CONFIG,
        "partial_credentials",
        "Half a key pair is set. Remove AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the container. " + ROLE,
    ),
    _row(
        "CredentialRetrievalError MetadataRetrievalError",
        SDK,
        AnswerClass.RETRY_THEN_CONFIG,
        "credentials_unreachable",
        "The credentials endpoint does not answer. Check the ECS agent, and network policies towards 169.254.170.2.",
    ),
    _row(
        "FileNotFoundError PermissionError IsADirectoryError NotADirectoryError",
        SDK,
        AnswerClass.CONFIG,
        "web_identity_token_unreadable",
        "The service-account token cannot be read. Check its volume, fsGroup and runAsUser.",
    ),
    _row(
        "InvalidConfigError ProfileNotFound ConfigParseError ConfigNotFound InfiniteLoopConfigError"
        # credentials that metering does not accept: sign-in sessions, MFA, processes
        " UnknownCredentialError UnknownTokenProviderError TokenRetrievalError NoAuthTokenError"
        " RefreshWithMFAUnsupportedError SSOError SSOTokenLoadError UnauthorizedSSOTokenError LoginError"
        " LoginAuthorizationCodeError LoginInsufficientPermissions LoginRefreshRequired LoginTokenLoadError",
        SDK,
        AnswerClass.CONFIG,
        "sdk_configuration",
        "Remove AWS_PROFILE and AWS config files from the container; on EKS let the webhook set both AWS_ROLE_ARN"
        " and AWS_WEB_IDENTITY_TOKEN_FILE.",
    ),
    _row(
        "ParamValidationError",
        SDK,
        AnswerClass.CONFIG,
        "web_identity_malformed",
        "The service-account token is empty or the role ARN ({role}) malformed. Check the token volume and the"
        " eks.amazonaws.com/role-arn annotation, and recreate the pod.",
    ),
    _row(
        "InvalidEndpointConfigurationError InvalidSTSRegionalEndpointsConfigError InvalidIMDSEndpointError"
        " InvalidIMDSEndpointModeError ValueError"
        # other settings of its environment, and endpoints that it cannot make of them
        " InvalidChecksumConfigError InvalidDefaultsMode InvalidRetryModeError InvalidMaxRetryAttemptsError"
        " InvalidRetryConfigurationError InvalidEndpointDiscoveryConfigurationError InvalidExpressionError"
        " InvalidHostLabelError UnknownSignatureVersionError UnsupportedSignatureVersionError EndpointResolutionError"
        " EndpointProviderError EndpointVariantError UnknownEndpointError UnknownEndpointResolutionBuiltInName"
        " UnknownFIPSEndpointError UnknownRegionError ServiceNotInRegionError"
        # its own data and code
        " DataNotFoundError ApiVersionNotFoundError UnknownServiceError UnknownServiceStyle"
        " UnsupportedServiceProtocolsError UndefinedModelAttributeError MissingServiceIdError MissingParametersError"
        " UnknownClientMethodError MissingDependencyException MD5UnavailableError AliasConflictParameterError"
        " RangeError UnknownKeyError UnknownParameterError ValidationError",
        SDK,
        AnswerClass.CONFIG,
        "sdk_configuration",
        "The SDK refuses its environment: check the AWS_* variables of the container. If none is set there, report"
        " {code} to the product's vendor.",
    ),
    _row(
        "ca_bundle_unreadable",
        SDK,
        AnswerClass.CONFIG,
        "ca_bundle_unreadable",
        "AWS_CA_BUNDLE names a file that cannot be read. Mount it, or unset the variable.",
    ),
    _row(
        "NoRegionError InvalidRegionError",
        SDK,
        AnswerClass.CONFIG,
        "no_region",
        "The region is unknown. EKS: the IRSA webhook sets AWS_REGION; recreate the pod. ECS: the task metadata"
        " endpoint must be readable.",
    ),
    _row(
        "EndpointConnectionError ConnectTimeoutError ConnectionClosedError",
        SDK,
        AnswerClass.RETRY,
        "aws_unreachable",
        ROUTE,
    ),
    _row(
        "ReadTimeoutError",
        SDK,
        AnswerClass.RETRY,
        "aws_slow",
        "{host} took the request and did not answer in time. " + WAITS + " If it lasts, check network and proxies.",
    ),
    _row(
        "SSLError",
        SDK,
        AnswerClass.CONFIG,
        "tls_failed",
        "TLS to {host} failed. Where a proxy inspects TLS, give its CA bundle in AWS_CA_BUNDLE, or let the AWS hosts"
        " past it (NO_PROXY).",
        unreachable=True,
    ),
    _row(
        "MalformedProxy InvalidProxiesConfigError",
        SDK,
        AnswerClass.CONFIG,
        "proxy_malformed",
        "HTTPS_PROXY is not the URL of a proxy, so nothing was sent: write http://HOST:PORT, http in small letters, and"
        " percent-encode what is special in a user or password.",
        unreachable=True,
    ),
    _row(
        "MalformedCredentials",
        SDK,
        AnswerClass.CONFIG,
        "credentials_malformed",
        "A credential holds a line break or another character that no header may have, so nothing was sent. Remove"
        " static AWS keys from the container. " + ROLE,
    ),
    _row(
        "ProxyConnectionError",
        SDK,
        AnswerClass.CONFIG,
        "proxy_failed",
        "The proxy does not let the request through to {host}. Check HTTPS_PROXY, and NO_PROXY for the AWS hosts.",
        unreachable=True,
    ),
    _row(
        "HTTPClientError ResponseParserError ResponseStreamingError IncompleteReadError KeyError TypeError"
        " AttributeError RuntimeError ConnectionError ChecksumError FlexibleChecksumError AwsChunkedWrapperError"
        " UnseekableStreamError EventStreamError CapacityNotAvailableError",
        SDK,
        AnswerClass.RETRY,
        "aws_unreadable",
        "What answers for {host} is not AWS, or breaks off. " + WAITS + " If it lasts, look for a proxy or captive"
        " portal.",
    ),
    _row(
        "child_failed",
        SDK,
        AnswerClass.RETRY,
        "asking_failed",
        "The process that asks AWS ended without an answer: out of memory, or killed. Raise the container's memory"
        " limit if it lasts.",
    ),
    _row(
        "child_timed_out",
        SDK,
        AnswerClass.RETRY,
        "asking_timed_out",
        "Asking AWS took too long and was stopped. " + ROUTE,
    ),
    _row(
        "metadata_unreadable",
        SDK,
        AnswerClass.RETRY_THEN_CONFIG,
        "task_metadata_unreadable",
        "The ECS task metadata endpoint (ECS_CONTAINER_METADATA_URI_V4) does not answer: who is metered cannot be"
        " told. Check the ECS agent.",
    ),
    # The answer is not AWS's, or not to our question.
    _row("signature_missing", TOKEN, AnswerClass.DENY, "signature_missing", "", once_more=True),
    _row("token_malformed", TOKEN, AnswerClass.DENY, "token_malformed", "", once_more=True),
    _row("token_algorithm", TOKEN, AnswerClass.DENY, "token_algorithm", "", once_more=True),
    _row("token_signature", TOKEN, AnswerClass.DENY, "token_signature", "", once_more=True),
    _row("token_product_code", TOKEN, AnswerClass.DENY, "token_product_code", "", once_more=True),
    _row("token_public_key_version", TOKEN, AnswerClass.DENY, "token_public_key_version", "", once_more=True),
    _row("token_nonce", TOKEN, AnswerClass.DENY, "token_nonce", "", once_more=True),
    _row("token_contradicts_itself", TOKEN, AnswerClass.DENY, "token_contradicts_itself", "", once_more=True),
    _row("token_iat", TOKEN, AnswerClass.DENY, "token_iat", "", once_more=True),
    _row("public_key_unreadable", TOKEN, AnswerClass.CONFIG, "public_key_unreadable", ""),
)
"""Token rows take their hint from the rejection."""
