"""Read a reference of an image: its registry, its path, its tag and its digest.

Sources: AWS Marketplace seller guide, "Container-based product requirements" (its registry);
github.com/distribution/reference (grammar of a reference; a name without a tag means `latest`).
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.quick_dataclasses import dataclass

MARKETPLACE: Final = "709825985650.dkr.ecr.us-east-1.amazonaws.com"
"""The registry of AWS Marketplace. A product's repositories are SELLER/REPOSITORY in it."""
REGIONAL: Final = re.compile(r"709825985650\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
"""The same, and its copies in other regions."""
ID: Final = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
"""Of an image, by which an engine finds it too."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image, as a container names it."""

    host: str
    """Empty: Docker Hub."""
    path: str
    tag: str
    digest: str


def reference(text: str) -> Reference:
    """Return the parts of a reference."""
    rest, _, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    first, slash, path = head.partition("/")
    host = first if slash and (re.search(r"[.:]", first) or first == "localhost") else ""
    return Reference(host=host, path=path if host else head, tag=tag, digest=digest)


def in_marketplace(name: str) -> bool:
    """Return whether an image is in AWS Marketplace's registry, in whatever region."""
    return REGIONAL.fullmatch(reference(name).host) is not None


def moving_tag(name: str) -> str:
    """Return in words which tag of a name moves; empty where none does, or where an id names the image."""
    found = reference(name)
    if found.digest or ID.fullmatch(name):
        return ""
    if not found.tag:
        return "no tag, which means `latest`"
    return "the tag `latest`" if found.tag == "latest" else ""
