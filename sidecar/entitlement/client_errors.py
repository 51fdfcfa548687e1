"""Hold the rows of the error table for what happens on this side: the SDK, the child, and tokens that do not verify.

Sources: botocore's exceptions.
"""

from __future__ import annotations

from typing import Final

from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.aws_errors import ROLE, SDK, WAITS

TOKEN: Final = (AnsweredBy.TOKEN,)
ROUTE: Final = "Allow outbound HTTPS to {metering_host} and {sts_host} (NAT, proxy, firewall, security group)."

ROWS: Final[tuple[ErrorRow, ...]] = (
    # The SDK got no answer.
    ErrorRow.of(
        "NoCredentialsError",
        SDK,
        AnswerClass.CONFIG,
        "no_credentials",
        "The container has no AWS credentials. EKS: annotate {service_account} with an IRSA role"
        " (eks.amazonaws.com/role-arn) and recreate the pod (annotating a running one does nothing). ECS: set"
        " taskRoleArn, not only executionRoleArn.",
    ),
    ErrorRow.of(
        "PartialCredentialsError",
        SDK,
        AnswerClass.CONFIG,
        "partial_credentials",
        "Half a key pair is set. Remove AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the container. " + ROLE,
    ),
    ErrorRow.of(
        "CredentialRetrievalError MetadataRetrievalError",
        SDK,
        AnswerClass.RETRY_THEN_CONFIG,
        "credentials_unreachable",
        "The credentials endpoint does not answer. Check the ECS agent, and network policies towards 169.254.170.2.",
    ),
    ErrorRow.of(
        "FileNotFoundError PermissionError IsADirectoryError NotADirectoryError",
        SDK,
        AnswerClass.CONFIG,
        "web_identity_token_unreadable",
        "The service-account token cannot be read. Check its volume, fsGroup and runAsUser.",
    ),
    ErrorRow.of(
        "InvalidConfigError ProfileNotFound ConfigParseError ConfigNotFound InfiniteLoopConfigError"
        # credentials that metering does not accept: sign-in sessions, MFA, processes
        " UnknownCredentialError UnknownTokenProviderError TokenRetrievalError NoAuthTokenError"
        " RefreshWithMFAUnsupportedError SSOError SSOTokenLoadError UnauthorizedSSOTokenError LoginError"
        " LoginAuthorizationCodeError LoginInsufficientPermissions LoginRefreshRequired LoginTokenLoadError",
        SDK,
        AnswerClass.CONFIG,
        "sdk_configuration",
        "On EKS let the webhook set both AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE, and set neither yourself.",
    ),
    ErrorRow.of(
        "ParamValidationError",
        SDK,
        AnswerClass.CONFIG,
        "web_identity_malformed",
        "The service-account token is empty or the role ARN ({role}) malformed. Check the token volume and the"
        " eks.amazonaws.com/role-arn annotation, and recreate the pod.",
    ),
    ErrorRow.of(
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
    ErrorRow.of(
        "ca_bundle_unreadable",
        SDK,
        AnswerClass.CONFIG,
        "ca_bundle_unreadable",
        "AWS_CA_BUNDLE names a file that cannot be read. Mount it, or unset the variable.",
    ),
    ErrorRow.of(
        "NoRegionError InvalidRegionError",
        SDK,
        AnswerClass.CONFIG,
        "no_region",
        "The region is unknown. {region_fix}",
    ),
    ErrorRow.of(
        "EndpointConnectionError ConnectTimeoutError ConnectionClosedError",
        SDK,
        AnswerClass.RETRY,
        "aws_unreachable",
        ROUTE,
    ),
    ErrorRow.of(
        "ReadTimeoutError",
        SDK,
        AnswerClass.RETRY,
        "aws_slow",
        "{host} took the request and did not answer in time. " + WAITS + " If it lasts, check network and proxies.",
    ),
    ErrorRow.of(
        "SSLError",
        SDK,
        AnswerClass.CONFIG,
        "tls_failed",
        "TLS to {host} failed. Where a proxy inspects TLS, give its CA bundle in AWS_CA_BUNDLE, or let the AWS hosts"
        " past it (NO_PROXY).",
        unreachable=True,
    ),
    ErrorRow.of(
        "MalformedProxy InvalidProxiesConfigError",
        SDK,
        AnswerClass.CONFIG,
        "proxy_malformed",
        "HTTPS_PROXY is not the URL of a proxy, so nothing was sent: write http://HOST:PORT, http in small letters, and"
        " percent-encode what is special in a user or password.",
        unreachable=True,
    ),
    ErrorRow.of(
        "MalformedCredentials",
        SDK,
        AnswerClass.CONFIG,
        "credentials_malformed",
        "A credential holds a line break or another character that no header may have, so nothing was sent. Remove"
        " static AWS keys from the container. The file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names must not"
        " end in a line break. " + ROLE,
    ),
    ErrorRow.of(
        "ContainerTokenUnreadable",
        SDK,
        AnswerClass.CONFIG,
        "container_token_unreadable",
        "The file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names cannot be read. Neither IRSA nor the ECS task"
        " role has such a file. Remove the variable; where EKS Pod Identity sets it, which metering does not support,"
        " delete the association. " + ROLE,
    ),
    ErrorRow.of(
        "ProxyConnectionError",
        SDK,
        AnswerClass.CONFIG,
        "proxy_failed",
        "The proxy does not let the request through to {host}. Check HTTPS_PROXY, and NO_PROXY for the AWS hosts.",
        unreachable=True,
    ),
    ErrorRow.of(
        "HTTPClientError ResponseParserError ResponseStreamingError IncompleteReadError KeyError TypeError"
        " AttributeError RuntimeError ConnectionError ChecksumError FlexibleChecksumError AwsChunkedWrapperError"
        " UnseekableStreamError EventStreamError CapacityNotAvailableError",
        SDK,
        AnswerClass.RETRY,
        "aws_unreadable",
        "What answers for {host} is not AWS, or breaks off. " + WAITS + " If it lasts, look for a proxy or captive"
        " portal.",
    ),
    ErrorRow.of(
        "child_failed",
        SDK,
        AnswerClass.RETRY,
        "asking_failed",
        "The process that asks AWS ended without an answer: out of memory, or killed. Raise the container's memory"
        " limit if it lasts.",
    ),
    ErrorRow.of(
        "child_timed_out",
        SDK,
        AnswerClass.RETRY,
        "asking_timed_out",
        "Asking AWS took too long and was stopped. " + ROUTE,
    ),
    ErrorRow.of(
        "metadata_unreadable",
        SDK,
        AnswerClass.RETRY_THEN_CONFIG,
        "task_metadata_unreadable",
        "The ECS task metadata endpoint (ECS_CONTAINER_METADATA_URI_V4) does not answer: who is metered cannot be"
        " told. Check the ECS agent.",
    ),
    # The answer is not AWS's, or not to our question.
    ErrorRow.of("signature_missing", TOKEN, AnswerClass.DENY, "signature_missing", "", once_more=True),
    ErrorRow.of("token_malformed", TOKEN, AnswerClass.DENY, "token_malformed", "", once_more=True),
    ErrorRow.of("token_algorithm", TOKEN, AnswerClass.DENY, "token_algorithm", "", once_more=True),
    ErrorRow.of("token_signature", TOKEN, AnswerClass.DENY, "token_signature", "", once_more=True),
    ErrorRow.of("token_product_code", TOKEN, AnswerClass.DENY, "token_product_code", "", once_more=True),
    ErrorRow.of("token_public_key_version", TOKEN, AnswerClass.DENY, "token_public_key_version", "", once_more=True),
    ErrorRow.of("token_nonce", TOKEN, AnswerClass.DENY, "token_nonce", "", once_more=True),
    ErrorRow.of("token_contradicts_itself", TOKEN, AnswerClass.DENY, "token_contradicts_itself", "", once_more=True),
    ErrorRow.of("token_iat", TOKEN, AnswerClass.DENY, "token_iat", "", once_more=True),
    ErrorRow.of("token_exp", TOKEN, AnswerClass.DENY, "token_exp", "", once_more=True),
    ErrorRow.of("token_nbf", TOKEN, AnswerClass.DENY, "token_nbf", "", once_more=True),
    ErrorRow.of("public_key_unreadable", TOKEN, AnswerClass.CONFIG, "public_key_unreadable", ""),
)
"""Token rows take their hint from the rejection."""
