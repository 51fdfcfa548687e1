"""Check one image: an OCI layout, an archive, or the name of one that an engine of this machine has.

Invariants:
- What cannot be read is a finding; what was read before it counts all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidecar.listing.finding import Checked, Finding, NotChecked
from sidecar.listing.image import configuration, contents, engine, filesystem, layers, manifests, platforms, rules
from sidecar.listing.image.manifests import Image
from sidecar.listing.image.store import Store, Unreadable
from sidecar.listing.manifest.rules import RULES as MANIFEST_RULES

SAVE_ALL: Final = "Give all of them: `skopeo copy --all docker://NAME oci:DIR`, or the `type=oci` output of BuildKit."


def check(name: str) -> Checked:
    """Return what the image of this path or name breaks."""
    found: list[Finding] = []
    not_checked: dict[str, NotChecked] = {}
    try:
        with engine.found(name) as opened:
            images = manifests.images_of(opened)
            found += platforms.find(images, "" if engine.is_stored(name) else name)
            if images.missing:
                reason = f"{', '.join(images.missing)}: the index has it, and its files are not here. {SAVE_ALL}"
                not_checked[rules.READABLE.id] = NotChecked(rule=rules.READABLE, reason=reason)
            for image in images.images:
                for one in _image(opened, image):
                    if isinstance(one, Finding):
                        found.append(one)
                    else:
                        not_checked.setdefault(one.rule.id, one)
    except (Unreadable, OSError) as exc:
        found.append(Finding(rule=rules.READABLE, message=f"The image cannot be read: {exc}"))
        return Checked(findings=found, complete=False)
    return Checked(findings=found, not_checked=list(not_checked.values()))


def _image(opened: Store, image: Image) -> Iterator[Finding | NotChecked]:
    try:
        files = contents.contents_of(layers.files(opened, image))
    except layers.CannotUnpack as exc:
        reason = f"{image.platform}: {exc}, which this Python does not read. Save the image with gzip or without."
        yield from (NotChecked(rule=rule, reason=reason) for rule in (*rules.OF_FILES, *MANIFEST_RULES))
        yield from configuration.find(image)
        return
    yield from configuration.find(image, files.files.get("etc/passwd", (0, b""))[1])
    yield from filesystem.find(image, files)
