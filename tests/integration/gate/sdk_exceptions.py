"""The SDK's own exceptions: which have to have a row, and which of those nothing we do brings about."""

from __future__ import annotations

import re
from typing import Final

import botocore.exceptions

OTHERS: Final = {
    r"BotoCoreError|BaseEndpointResolverError": "a base that is never raised itself",
    r"ClientError": "an answer of AWS, known by its code",
    r".*S3.*|UnsupportedOutpostResourceError|InvalidDNSNameError": "names of S3 buckets",
    r"(Un)?Stub.*|UnStubbedResponseError": "the SDK's double for tests",
    r"Waiter.*": "waiters: nothing here waits for AWS",
    r"PaginationError|OperationNotPageableError": "lists: nothing here lists",
    r".*Warning": "warned, not raised",
}
"""Class name (a pattern) → why it cannot reach us, and needs no row."""


def sdk_exceptions() -> dict[str, type[Exception]]:
    """Every exception of the SDK that may reach us, by its name."""
    found = {
        name: kind
        for name, kind in vars(botocore.exceptions).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == botocore.exceptions.__name__
    }
    return {name: kind for name, kind in found.items() if not any(re.fullmatch(other, name) for other in OTHERS)}


NAMES: Final = """
AliasConflictParameterError ApiVersionNotFoundError AwsChunkedWrapperError CapacityNotAvailableError
ChecksumError ConfigNotFound ConfigParseError ConnectionError DataNotFoundError EndpointProviderError
EndpointResolutionError EndpointVariantError EventStreamError FlexibleChecksumError InfiniteLoopConfigError
InvalidChecksumConfigError InvalidDefaultsMode InvalidEndpointDiscoveryConfigurationError
InvalidExpressionError InvalidHostLabelError InvalidIMDSEndpointError InvalidIMDSEndpointModeError
InvalidMaxRetryAttemptsError InvalidRetryConfigurationError InvalidRetryModeError
InvalidSTSRegionalEndpointsConfigError LoginAuthorizationCodeError LoginError LoginInsufficientPermissions
LoginRefreshRequired LoginTokenLoadError MD5UnavailableError MissingDependencyException MissingParametersError
MissingServiceIdError NoAuthTokenError ProfileNotFound RangeError RefreshWithMFAUnsupportedError SSOError
SSOTokenLoadError ServiceNotInRegionError TokenRetrievalError UnauthorizedSSOTokenError
UndefinedModelAttributeError UnknownClientMethodError UnknownCredentialError UnknownEndpointError
UnknownEndpointResolutionBuiltInName UnknownFIPSEndpointError UnknownKeyError UnknownParameterError
UnknownRegionError UnknownServiceError UnknownServiceStyle UnknownSignatureVersionError
UnknownTokenProviderError UnseekableStreamError UnsupportedServiceProtocolsError
UnsupportedSignatureVersionError
"""
UNSEEN: Final = frozenset(NAMES.split())
"""Classes with a row that no environment of ours brings about: profiles, sign-in sessions, the SDK's own faults."""
