"""Read the region from the EC2 instance metadata service, as the last resort.

Invariants:
- Version 2 only: a token first, then the region.
- No variable moves the service. The SDK sees none either (`marketplace.sdk_environment`), and `run` logs what is set.

Sources: Amazon EC2 user guide, "Use IMDSv2" and "Instance metadata categories" (placement/region).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar import local_http

URL: Final = "http://169.254.169.254"
TOKEN_SECONDS: Final = "60"  # noqa: S105 - a span
REGION: Final = re.compile(r"[a-z]{2,8}(-[a-z]+)+-[0-9]+")


def read_region(env: Mapping[str, str]) -> str | None:
    """Return the region, or None where there is no such service or it is switched off."""
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    try:
        token = local_http.get(
            f"{URL}/latest/api/token",
            {"X-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS},
            method="PUT",
        ).decode("ascii")
        name = local_http.get(f"{URL}/latest/meta-data/placement/region", {"X-aws-ec2-metadata-token": token}).decode(
            "ascii"
        )
    except (OSError, UnicodeError, ValueError):
        return None
    return name if REGION.fullmatch(name) else None
