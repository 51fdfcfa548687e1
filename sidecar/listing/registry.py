"""Read the name of a container image: its registry and its tag.

Sources: AWS Marketplace seller guide, "Container-based product requirements" (its registry); distribution/reference (a
name without a tag means `latest`).
"""

from __future__ import annotations

import re
from typing import Final

MARKETPLACE_EXAMPLE: Final = "709825985650.dkr.ecr.us-east-1.amazonaws.com/SELLER/REPOSITORY:1.2.3"
MARKETPLACE: Final = re.compile(r"709825985650\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/.+")
"""AWS Marketplace's registry. A seller pushes to us-east-1; add-ons are copied to other regions."""
ID: Final = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
"""Of an image, by which an engine finds it too."""


def in_marketplace(name: str) -> bool:
    """Return whether an image is in AWS Marketplace's registry."""
    return MARKETPLACE.fullmatch(name) is not None


def tag_of(name: str) -> str | None:
    """Return the tag of a name, empty where it has none; None where it has a digest, or is an id."""
    if "@" in name or ID.fullmatch(name):
        return None
    return name.rpartition("/")[2].partition(":")[2]


def moving_tag(name: str) -> str:
    """Return in words which tag of a name moves; empty where none does."""
    tag = tag_of(name)
    if tag == "":
        return "no tag, which means `latest`"
    return "the tag `latest`" if tag == "latest" else ""
