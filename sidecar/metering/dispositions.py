"""Hold the table of MeterUsage's errors as data: code → disposition, reason, hint.

`decide` derives what becomes of the record.

Invariants:
- One row per code; a test compares the rows with botocore's service model, so that an error AWS adds fails the build
  until it has a row. Codes are matched on the string, case-sensitively.
- Unknown codes are held: usage is not dropped because AWS learned a new word.
- `definite` says that AWS has certainly not billed this attempt; in doubt it is not.

Sources: AWS Marketplace API Reference, MeterUsage, Errors; seller guide, "Configuring custom metering with MeterUsage";
AWS STS API Reference, AssumeRoleWithWebIdentity; "Common error types"; botocore's exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sidecar.metering import license_dispositions
from sidecar.metering.disposition_row import HOLD, WAITS, Row, row
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Disposition

ROWS: Final[tuple[Row, ...]] = (
    # MeterUsage has read the request, and refuses it.
    row(
        "CustomerNotEntitledException CustomerNotSubscribedException",
        HOLD,
        "customer_not_entitled",
        "AWS says that this account has no subscription to the product. Subscribe it in AWS Marketplace; the usage is"
        " kept and sent again.",
        slow=True,
    ),
    row(
        "InvalidProductCodeException",
        Disposition.REJECT,
        "invalid_product_code",
        "AWS does not know this product code. Use the one shown for the listing, then run"
        " `entitlement-sidecar usage retry`.",
    ),
    row(
        "InvalidUsageDimensionException",
        Disposition.REJECT,
        "invalid_usage_dimension",
        "The listing has no dimension with this API name. Add or correct it, then run"
        " `entitlement-sidecar usage retry`.",
    ),
    row(
        "InvalidTagException",
        Disposition.REPAIR,
        "invalid_tag",
        "AWS refused the tags; the hour is sent without allocations. Send at most 5 tag keys of plain characters.",
        repairs=(Repair.WITHOUT_ALLOCATIONS,),
    ),
    row(
        "InvalidUsageAllocationsException",
        Disposition.REPAIR,
        "invalid_usage_allocations",
        "AWS refused the split by tags; the hour is sent with at most 500 shares, then in whole numbers, then without"
        " any. Report this to the product's vendor.",
        # the error's text names the kind of the quantities, too
        repairs=(Repair.FEWER_ALLOCATIONS, Repair.INTEGER_FIELD, Repair.WITHOUT_ALLOCATIONS),
    ),
    row(
        "TimestampOutOfBoundsException",
        Disposition.EXPIRE,
        "timestamp_out_of_bounds",
        "AWS takes usage up to 6 hours old and none from the future. Check the node's clock and the way to AWS.",
    ),
    row(
        "DuplicateRequestException",
        Disposition.DISPUTE,
        "duplicate_request",
        "AWS holds another quantity for this hour. Run one reporter per pod or task, and keep the state directory"
        " across restarts of the container; then decide with `entitlement-sidecar usage retry`.",
    ),
    row(
        "IdempotencyConflictException",
        Disposition.REPAIR,
        "idempotency_conflict",
        "AWS knows the client token with other content; an hour is sent with a new one. On AgentCore Runtime, where a"
        " new one could bill twice, the record waits for `entitlement-sidecar usage retry`. Report this to the vendor.",
        repairs=(Repair.NEW_TOKEN,),
    ),
    row(
        "ValidationException SerializationException UnknownOperationException DecimalsUnsupported ParamValidationError",
        Disposition.REPAIR,
        "request_malformed",
        "AWS or its SDK cannot read the request. A whole quantity in the decimal field is sent again in the integer"
        " field, unless SIDECAR_QUANTITY_FIELD is decimal: set auto then. Where that is refused too, upgrade the"
        " product, and report this to its vendor. Then run `entitlement-sidecar usage retry`.",
        repairs=(Repair.INTEGER_FIELD,),
    ),
    row(
        "DryRunOperation",
        HOLD,
        "answered_dry_run",
        "AWS answered as if only asked whether it would. Report this to the product's vendor.",
        slow=True,
    ),
    # MeterUsage cannot, until a person changes something.
    row(
        "InvalidEndpointRegionException",
        HOLD,
        "invalid_region",
        "The workload runs in another region than the one asked. Remove AWS_REGION and AWS_DEFAULT_REGION from the"
        " container; the platform sets them.",
        slow=True,
    ),
    row(
        "DisabledApiException",
        HOLD,
        "api_disabled",
        "AWS Marketplace metering is not offered in this region. Run the product where it is.",
        slow=True,
    ),
    row(
        "PlatformNotSupportedException",
        HOLD,
        "platform_not_supported",
        "AWS sees no supported platform behind these credentials: use IRSA on EKS, the task role on ECS.",
        slow=True,
    ),
    row(
        "AccessDeniedException UnauthorizedException UnauthorizedOperation AccessDenied",
        HOLD,
        "access_denied",
        'Allow aws-marketplace:MeterUsage on Resource "*" for the workload\'s role, and check its trust policy,'
        " permission boundaries, SCPs and VPC endpoint policies.",
        slow=True,
    ),
    # Credentials and signatures.
    row(
        "ExpiredTokenException ExpiredToken",
        HOLD,
        "credentials_expired",
        "The credentials have expired and were not renewed. Restart the pod or task; check the node's clock.",
        slow=True,
        once_more=True,
    ),
    row(
        "UnrecognizedClientException InvalidClientTokenId",
        HOLD,
        "credentials_unknown",
        "AWS does not know these credentials. Remove static keys; use IRSA on EKS, the task role on ECS.",
        slow=True,
        once_more=True,
    ),
    row(
        "MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature"
        " IncompleteSignatureException InvalidSignatureException SignatureDoesNotMatch",
        HOLD,
        "signature_refused",
        "AWS cannot verify the request's signature. Remove static keys, and look for a proxy that rewrites requests.",
        slow=True,
    ),
    row(
        "InvalidSignatureException:clock SignatureDoesNotMatch:clock RequestTimeTooSkewed RequestExpired"
        " RuntimeError:clock",
        HOLD,
        "clock_skew",
        "Synchronise the node's clock (Amazon Time Sync, chrony).",
    ),
    row(
        "OptInRequired AuthFailure NotAuthorized",
        HOLD,
        "account_refused",
        "Check that the AWS account is active and opted in to the region.",
        slow=True,
    ),
    row(
        "InvalidIdentityToken IDPRejectedClaim ValidationError RegionDisabledException PackedPolicyTooLarge"
        " MalformedPolicyDocument",
        HOLD,
        "role_not_assumed",
        "STS does not give the role: check the cluster's OIDC provider, the trust policy, the role ARN annotation and"
        " that STS is active in the region.",
        slow=True,
    ),
    row(
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError MetadataRetrievalError FileNotFoundError"
        " PermissionError IsADirectoryError NotADirectoryError InvalidConfigError ProfileNotFound ConfigParseError"
        " ConfigNotFound InvalidEndpointConfigurationError InvalidSTSRegionalEndpointsConfigError"
        " InvalidIMDSEndpointError InvalidIMDSEndpointModeError NoRegionError InvalidRegionError ca_bundle_unreadable"
        " metadata_unreadable credentials_malformed MalformedCredentials ContainerTokenUnreadable"
        " LicenseTokenUnreadable LicenseRoleMissing"
        # the SDK raises these before it signs or sends
        " InfiniteLoopConfigError UnknownCredentialError UnknownTokenProviderError TokenRetrievalError NoAuthTokenError"
        " RefreshWithMFAUnsupportedError SSOError SSOTokenLoadError UnauthorizedSSOTokenError LoginError"
        " LoginAuthorizationCodeError LoginInsufficientPermissions LoginRefreshRequired LoginTokenLoadError"
        " InvalidChecksumConfigError InvalidDefaultsMode InvalidRetryModeError InvalidMaxRetryAttemptsError"
        " InvalidRetryConfigurationError InvalidEndpointDiscoveryConfigurationError InvalidExpressionError"
        " InvalidHostLabelError UnknownSignatureVersionError UnsupportedSignatureVersionError EndpointResolutionError"
        " EndpointProviderError EndpointVariantError UnknownEndpointError UnknownEndpointResolutionBuiltInName"
        " UnknownFIPSEndpointError UnknownRegionError ServiceNotInRegionError DataNotFoundError"
        " ApiVersionNotFoundError UnknownServiceError UnknownServiceStyle UnsupportedServiceProtocolsError"
        " UndefinedModelAttributeError MissingServiceIdError MissingParametersError UnknownClientMethodError"
        " MissingDependencyException MD5UnavailableError AliasConflictParameterError RangeError UnknownKeyError"
        " UnknownParameterError",
        HOLD,
        "not_sent",
        "The SDK could not even ask: something is missing of credentials, region or certificates. `GET /v1/status`"
        " shows who was found, where, and as whom.",
        slow=True,
    ),
    # AWS is busy, broken, or not there.
    row(
        "ThrottlingException Throttling TooManyRequestsException RequestLimitExceeded 429",
        HOLD,
        "throttled",
        WAITS,
    ),
    row(
        "MalformedProxy InvalidProxiesConfigError",
        HOLD,
        "proxy_malformed",
        "HTTPS_PROXY is not the URL of a proxy, so nothing was sent: write http://HOST:PORT, http in small letters, and"
        " percent-encode what is special in a user or password.",
        slow=True,
    ),
    row(
        "EndpointConnectionError ConnectTimeoutError ProxyConnectionError IDPCommunicationError",
        HOLD,
        "aws_unreachable",
        WAITS + " If it lasts, allow outbound HTTPS to the metering and STS endpoints (NAT, proxy, firewall).",
    ),
    row(
        "SSLError:certificate",
        HOLD,
        "tls_failed",
        "TLS to AWS failed. Where a proxy inspects TLS, give its CA bundle in AWS_CA_BUNDLE, or let the AWS hosts past"
        " it (NO_PROXY).",
        slow=True,
    ),
    row(
        "301 302 307 308 400 401 403 404 405 407 411 413",
        HOLD,
        "answer_not_from_aws",
        "What answers is not AWS. Look for a proxy, a captive portal or a wrong DNS entry in between.",
        definite=False,
        slow=True,
    ),
    row(
        "InternalServiceErrorException InternalFailure InternalError ServiceUnavailable ServiceUnavailableException"
        " RequestTimeout RequestTimeoutException 408 500 502 503 504",
        HOLD,
        "aws_failing",
        WAITS + " See the AWS Health Dashboard.",
        definite=False,
    ),
    row(
        "ReadTimeoutError ConnectionClosedError SSLError HTTPClientError ResponseParserError ResponseStreamingError"
        " IncompleteReadError ConnectionError ChecksumError FlexibleChecksumError AwsChunkedWrapperError"
        " UnseekableStreamError EventStreamError CapacityNotAvailableError child_failed child_timed_out"
        " record_id_missing",
        HOLD,
        "answer_lost",
        WAITS + " AWS counts identical requests once. If it lasts, check network, proxies and AWS_CA_BUNDLE.",
        definite=False,
    ),
)

TABLE: Final[Mapping[str, Row]] = {code: one for one in (*ROWS, *license_dispositions.ROWS) for code in one.codes}
"""Codes of MeterUsage and, for what is drawn from a license, of CheckoutLicense: no code is in both."""

UNKNOWN: Final = Row(
    codes=(),
    disposition=HOLD,
    reason="unknown_error",
    hint="This version does not know AWS's answer. Look the code up, and report it to the product's vendor.",
    definite=False,
    slow=True,
)

QUALIFIERS: Final[Mapping[str, re.Pattern[str]]] = {
    "clock": re.compile(r"expired|not yet current|earlier than|later than|skew", re.IGNORECASE),
    "certificate": re.compile(r"CERTIFICATE_VERIFY_FAILED"),
}
"""Words of a message that split a code in two: a signature refused for its date; TLS that failed before
anything was sent."""


def classify(code: str, message: str = "") -> Row:
    """Return the row for a code. Of `message` only QUALIFIERS is read."""
    for qualifier, words in QUALIFIERS.items():
        if (found := TABLE.get(f"{code}:{qualifier}")) and words.search(message):
            return found
    return TABLE.get(code, UNKNOWN)


ONE_RECORD: Final = frozenset(
    [
        *("DryRunOperation", "InternalServiceErrorException", "InternalFailure", "InternalError", "record_id_missing"),
        *license_dispositions.ONE_POOL,
    ]
)
"""Held, although the cause may be this one request: AWS may take the next one."""


def holds_all(code: str, message: str = "") -> bool:
    """Return whether what holds this record would hold every other now: no route to AWS, no credentials, throttling.

    An unknown code may be about one record.
    """
    found = classify(code, message)
    return found.disposition is HOLD and found is not UNKNOWN and code not in ONE_RECORD


def known_code(names: Sequence[str]) -> str:
    """Return the first name with a row, given an exception's classes from most to least specific."""
    return next((name for name in names if name in TABLE), names[0])
