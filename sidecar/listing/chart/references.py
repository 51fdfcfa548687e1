"""Read references of images, and find them among values.

Sources: AWS Marketplace seller guide, "Helm chart structure requirements" (three forms of an image in values.yaml);
github.com/distribution/reference (grammar of a reference).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.listing.chart.values import Values
from sidecar.listing.chart.yaml_text import Path
from sidecar.listing.registry import Reference, reference
from sidecar.quick_dataclasses import dataclass

REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")
"""As AWS Marketplace makes them: the seller's name, then the repository's."""
_KEY: Final = re.compile(r"(?:.*[a-z0-9])?Image|image")
_SINGLE: Final = re.compile(r"[\w.-]+(?::\d+)?(?:/[\w.-]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?")


@dataclass(frozen=True, kw_only=True)
class ImageValue:
    """An image among the values."""

    path: Path
    """Of the mapping, or of the text that is the whole reference."""
    text: str
    """The whole reference, put together."""
    beside: bool
    """Whether its registry stands in this mapping, or in its repository."""

    @property
    def reference(self) -> Reference:
        """Return its parts."""
        return reference(self.text)


def in_values(values: Values) -> Iterator[ImageValue]:
    """Yield every image among the values: mappings with a repository, and texts under a key like `image`."""
    for path, one in values.mappings():
        repository = one.get("repository") or (one.get("name") if one.get("registry") else None)
        if isinstance(repository, str) and not re.match(r"[a-z+]+://", repository):
            yield _of_mapping(path, one, repository)
    for path, value in values.leaves():
        key = str(path[-1]) if path else ""
        if isinstance(value, str) and _KEY.fullmatch(key) and value and _SINGLE.fullmatch(value):
            yield ImageValue(path=path, text=value, beside=bool(reference(value).host))


def _of_mapping(path: Path, one: object, repository: str) -> ImageValue:
    assert isinstance(one, dict)
    registry = one.get("registry")
    registry = registry.rstrip("/") if isinstance(registry, str) else ""
    tag, digest = one.get("tag"), one.get("digest")
    name = f"{registry}/{repository}" if registry else repository
    text = name + (f":{tag}" if tag not in (None, "") else "") + (f"@{digest}" if digest else "")
    return ImageValue(path=path, text=text, beside=bool(registry or reference(name).host))
