"""Recognize errors of the token with which the SDK asks a container's credentials endpoint.

The SDK raises what `open` raised, as it does for the service-account token of IRSA, and a bare ValueError for a line
break. Here they are named, so that the hint is about the right file.

Invariants:
- Nothing of the token is repeated in an error.

Sources: botocore's credentials (`ContainerProvider`); AWS SDKs and Tools reference guide, "Container credential
provider".
"""

from __future__ import annotations

import os
from typing import Final

from botocore.exceptions import BotoCoreError

from sidecar.marketplace.request_guard import MalformedCredentials

VARIABLE: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
LINE_BREAK: Final = "Auth token value is not a legal header value"
"""botocore's words."""


class ContainerTokenUnreadable(BotoCoreError):  # type: ignore[misc]
    """The file that the variable names cannot be read."""

    fmt = "the file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names cannot be read"


def refused_token(exc: Exception) -> BotoCoreError | None:
    """Return what an error of the SDK means, where it is about this token; else None.

    Reads the variable from this process's environment, which is the SDK's own (`sdk_environment.take`).
    """
    if isinstance(exc, OSError) and exc.filename is not None and exc.filename == os.environ.get(VARIABLE):
        return ContainerTokenUnreadable()
    if type(exc) is ValueError and str(exc) == LINE_BREAK:
        return MalformedCredentials()
    return None
