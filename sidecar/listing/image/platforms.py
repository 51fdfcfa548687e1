"""Check what the index of an image announces, and how the image is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidecar.listing.finding import Finding
from sidecar.listing.image import rules
from sidecar.listing.image.manifests import IN_TOTO, LAYERS, Image, Images
from sidecar.listing.registry import moving_tag
from sidecar.printable import one_line

BOTH: Final = ("linux/amd64", "linux/arm64")


def find(images: Images, name: str) -> Iterator[Finding]:
    """Yield the findings of an index, and of every image in it. `name`: of an image that an engine has, else empty."""
    yield from _architectures(images)
    for one in images.attestations:
        yield Finding(rule=rules.ATTESTATIONS, place=one, message="is an attestation, and no image.", seen=one)
    for image in images.images:
        yield from _image(image)
    yield from _tags(images.names or ([name] if name else []))


def _architectures(images: Images) -> Iterator[Finding]:
    there = sorted({*images.missing, *(image.announced or image.platform for image in images.images)})
    shown = ", ".join(there)
    if not images.indexed:
        yield Finding(rule=rules.ONE_PLATFORM, message=f"It has {shown} alone, and no index.", seen=shown)
        return
    missing = [one for one in BOTH if not any(f"{name}/".startswith(f"{one}/") for name in there)]
    if missing:
        message = f"The index has {shown}, and not {' and '.join(missing)}."
        yield Finding(rule=rules.ARCHITECTURES, message=message, seen=shown)


def _image(image: Image) -> Iterator[Finding]:
    platform = image.platform
    if not platform.startswith("linux/"):
        yield Finding(rule=rules.LINUX, place=platform, message=f"The image is for {platform}.", seen=platform)
    if image.announced and image.announced != platform:
        message = f"The index says {image.announced}, and the image itself {platform}."
        yield Finding(rule=rules.PLATFORM_TRUE, place=image.announced, message=message, seen=platform)
    for number, layer in enumerate(image.layers, start=1):
        if layer.media_type and layer.media_type not in (*LAYERS, IN_TOTO):
            seen = one_line(layer.media_type[:200])
            message = f"The layer has the media type {seen!r}."
            yield Finding(rule=rules.LAYER_TYPES, place=f"{platform}, layer {number}", message=message, seen=seen)


def _tags(names: list[str]) -> Iterator[Finding]:
    for name in dict.fromkeys(names):
        if moving := moving_tag(name):
            yield Finding(rule=rules.TAG, place=name, message=f"The name {name} has {moving}.", seen=name)
