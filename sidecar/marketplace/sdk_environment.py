"""Choose the environment variables with which the SDK runs in the short-lived child.

Invariants:
- Ambient `AWS_ENDPOINT_URL*`, and endpoints in AWS config files, are ignored: a buyer could aim metering at a fake. An
  endpoint override is honoured only where the settings allow it, and then for STS as well.
- No proxy is ever asked for a link-local address, whatever NO_PROXY says. Blanks around a proxy are not part of it.
- On ECS and in Kubernetes the instance's own role is not consulted, unless it is switched on explicitly: AWS
  Marketplace does not accept it, and where its endpoint is blocked it costs seconds.
- The SDK's own retries are off; the retry loop is ours.

Sources: AWS SDKs and Tools reference guide, "Service-specific endpoints"; botocore's config provider.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

LINK_LOCAL: Final = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23")
"""Instance metadata, ECS credentials and metadata, EKS Pod Identity; IPv4 and IPv6."""


def take(env: Mapping[str, str], endpoint_url: str | None, in_platform: bool) -> None:
    """Replace this process's environment by what the SDK may see of `env`. Only in the child."""
    os.environ.clear()
    os.environ.update(for_sdk(env, endpoint_url, in_platform))


def for_sdk(env: Mapping[str, str], endpoint_url: str | None, in_platform: bool) -> dict[str, str]:
    """Return the environment the SDK is to see. `endpoint_url`: an override that the settings allow."""
    seen = {name: value for name, value in env.items() if not name.startswith("AWS_ENDPOINT_URL")}
    seen |= {name: value.strip() for name, value in env.items() if name.lower().endswith("_proxy")}
    if endpoint_url:
        seen["AWS_ENDPOINT_URL_STS"] = endpoint_url
        seen["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "false"
    else:
        seen["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    if in_platform:
        seen.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    spared = [part.strip() for part in (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",") if part.strip()]
    if "*" not in spared:
        spared += [address for address in LINK_LOCAL if address not in spared]
    seen["no_proxy"] = seen["NO_PROXY"] = ",".join(spared)
    return seen
