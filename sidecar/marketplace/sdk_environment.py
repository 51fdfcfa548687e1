"""Choose the environment variables with which the SDK runs in the short-lived child.

Invariants:
- The SDK sees the variables of a list and no other: region, credentials of the sources that metering knows, proxies,
  AWS_CA_BUNDLE, FIPS and dual-stack. Whatever else could move the host, the certificates or the signing (endpoints,
  REQUESTS_CA_BUNDLE, data paths, plugins, profiles) would let a buyer aim metering at a fake.
- It reads no file of a home directory: AWS config, credentials and models there can do all of that. What the SDK ships
  is its only data (`client.NarrowLoader`).
- An endpoint override is honoured only where the settings allow it, and then for STS as well.
- No proxy is ever asked for a link-local address, whatever NO_PROXY says. Blanks around a proxy are not part of it.
- On ECS and in Kubernetes the instance's own role is not consulted, unless it is switched on explicitly: AWS
  Marketplace does not accept it, and where its endpoint is blocked it costs seconds.

Sources: AWS SDKs and Tools reference guide, "Settings reference"; botocore's config provider, loaders and credential
resolver, which a test walks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

LINK_LOCAL: Final = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23")
"""Instance metadata, ECS credentials and metadata, EKS Pod Identity; IPv4 and IPv6."""

PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
ALLOWED: Final = frozenset(
    [
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_CA_BUNDLE"),
        *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME"),
        *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
        *("AWS_CREDENTIAL_EXPIRATION", "AWS_EC2_METADATA_DISABLED"),
        *PROXIES,
    ]
)
"""Variables that the SDK sees as they are. Access keys are among them since AWS answers them with a refusal that says
why, and the emulator takes them."""
NOWHERE: Final[Mapping[str, str]] = {
    "HOME": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "BOTO_CONFIG": os.devnull,
}
"""A HOME that is no directory, and none of its files; without HOME the SDK would look up the user's."""


def take(env: Mapping[str, str], endpoint_url: str | None, in_platform: bool) -> None:
    """Replace this process's environment by what the SDK may see of `env`. Only in the child."""
    os.environ.clear()
    os.environ.update(for_sdk(env, endpoint_url, in_platform))


@contextmanager
def applied(env: Mapping[str, str], endpoint_url: str | None, in_platform: bool) -> Iterator[None]:
    """Let this process's environment be what the SDK may see of `env`, for a while. Not where other threads read it."""
    before = dict(os.environ)
    take(env, endpoint_url, in_platform)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def for_sdk(env: Mapping[str, str], endpoint_url: str | None, in_platform: bool) -> dict[str, str]:
    """Return the environment the SDK is to see. `endpoint_url`: an override that the settings allow."""
    seen = {name: env[name].strip() if name in PROXIES else env[name] for name in ALLOWED & env.keys()}
    seen |= NOWHERE
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
