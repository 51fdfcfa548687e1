"""Check the files of an image: secrets, password logins, and the sidecar with what is sealed into it.

Invariants:
- The rules for the product's manifest are those of `listing.manifest`; they are checked where the image has one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.listing.finding import Finding
from sidecar.listing.image import contents as files
from sidecar.listing.image import rules
from sidecar.listing.image.contents import Contents, Secret
from sidecar.listing.image.manifests import Image, mapping
from sidecar.listing.manifest.check import findings as manifest_findings
from sidecar.settings.seal import DIGEST

PURPOSE: Final = "io.entitlement-sidecar.purpose"
LOCKED: Final = ("", "*", "!", "!!", "x", "!*", "*LK*", "*NP*")
"""In a password field: no password that could be typed. An empty one is told apart below."""


def find(image: Image, found: Contents) -> Iterator[Finding]:
    """Yield the findings of the files of one image."""
    for path, layer in found.leaving.items():
        place = f"{image.platform}, layer {layer}"
        yield Finding(rule=rules.LAYER_PATHS, place=place, message=f"The path {path[:200]!r} leads out of the image.")
    yield from _secrets(image, found)
    yield from _logins(image, found)
    yield from _sidecar(image, found)


def _place(image: Image, path: str, layer: int) -> str:
    return f"{image.platform}, /{path} (layer {layer})"


def _secrets(image: Image, found: Contents) -> Iterator[Finding]:
    for path, one in found.secrets.items():
        yield _secret(image, one, removed=path in found.removed)
    if found.secret_count > len(found.secrets):
        message = f"There are {found.secret_count} files with secrets; only {len(found.secrets)} are named."
        yield Finding(rule=rules.SECRETS, place=image.platform, message=message)
    for path, layer in found.repositories.items():
        yield Finding(rule=rules.REPOSITORY, place=_place(image, path, layer), message="is a Git repository.")


def _secret(image: Image, one: Secret, *, removed: bool) -> Finding:
    rest = "; a higher layer removes it, and this layer is shipped all the same" if removed else ""
    return Finding(
        rule=rules.SECRETS, place=_place(image, one.path, one.layer), message=f"The file has {one.kind}{rest}."
    )


def _logins(image: Image, found: Contents) -> Iterator[Finding]:
    for path in files.PASSWORDS:
        layer, content = found.files.get(path, (0, b""))
        for line in content.decode("utf-8", "replace").splitlines():
            user, colon, rest = line.partition(":")
            password, more, _ = rest.partition(":")
            if not (colon and more) or (password.startswith("!") or password in LOCKED[1:]):
                continue
            state = "a password, as a hash" if password else "an empty password"
            message = f"The user {user!r} has {state}."
            yield Finding(rule=rules.PASSWORD_LOGIN, place=_place(image, path, layer), message=message, seen=user)


def _sidecar(image: Image, found: Contents) -> Iterator[Finding]:
    emulators = found.matching(files.EMULATOR) if found.matching(files.OWN) else []
    for path in emulators:
        place = _place(image, path, found.files[path][0])
        yield Finding(rule=rules.EMULATOR, place=place, message="is the emulator of AWS Marketplace.")
    purpose = mapping(image.settings.get("Labels")).get(PURPOSE)
    if purpose == "test" and not emulators:
        message = f"The label {PURPOSE} says that it is an image for tests."
        yield Finding(rule=rules.EMULATOR, place=f"{image.platform}, Labels", message=message, seen="test")
    if not found.matching(files.OWN):
        return
    if files.PRODUCT not in found.files:
        message = f"There is no /{files.PRODUCT}: the settings may name any product."
        yield Finding(rule=rules.PRODUCT_MANIFEST, place=image.platform, message=message)
    else:
        layer, content = found.files[files.PRODUCT]
        for one in manifest_findings(content, Path(f"/{files.PRODUCT}")):
            yield Finding(
                rule=one.rule,
                place=f"{_place(image, files.PRODUCT, layer)}, {one.place}".removesuffix(", "),
                message=one.message,
                seen=one.seen,
            )
    yield from _seal(image, found)


def _seal(image: Image, found: Contents) -> Iterator[Finding]:
    product = found.files.get(files.PRODUCT)
    seals = found.matching(files.SEAL)
    if product is not None and not seals:
        message = "No digest of the manifest is recorded: `manifest seal` has not run."
        yield Finding(rule=rules.SEALED, place=_place(image, files.PRODUCT, product[0]), message=message)
    for path in seals:
        layer, recorded = found.files[path]
        yield from _digest(_place(image, path, layer), recorded.decode("ascii", "replace"), product)


def _digest(place: str, recorded: str, product: tuple[int, bytes] | None) -> Iterator[Finding]:
    if not DIGEST.fullmatch(recorded):
        yield Finding(rule=rules.SEALED, place=place, message="The file is not a digest.")
    elif product is not None and hashlib.sha256(product[1]).hexdigest() != recorded.strip():
        message = f"The digest {recorded[:12]}… is not that of /{files.PRODUCT}: the sidecar would not start."
        yield Finding(rule=rules.SEALED, place=place, message=message, seen=recorded[:12])
