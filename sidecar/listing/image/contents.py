"""Find, in the layers of an image, the files that rules are about, as a container would see them.

Invariants:
- Only these files are remembered, however many an image has.
- A whiteout removes what lower layers brought, an opaque one all of it below its directory; a file in the place of a
  directory removes what was below.
- A secret stays one when a higher layer removes it: the lower layer is shipped, and can be read.

Sources: OCI image specification, layer.md, "Whiteouts".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Final

from sidecar.listing.image import secret_files
from sidecar.listing.image.layers import CONTENT_MAX, LayerFile
from sidecar.quick_dataclasses import dataclass, field

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
SECRETS_MAX: Final = 200
"""Secrets that are remembered; all are counted."""

PRODUCT: Final = "etc/entitlement-sidecar/product.yaml"
PACKAGE: Final = re.compile(r"(^|/)sidecar/__init__\.pyc?$")
"""Our package. It is ours where what is beside it is (`OWN`)."""
OWN: Final = re.compile(r"(^|/)entitlement_sidecar-[^/]+\.dist-info/METADATA$")
SEAL: Final = re.compile(r"(^|/)sidecar/manifest\.sha256$")
EMULATOR: Final = re.compile(r"(^|/)sidecar/emulator/__init__\.pyc?$")
PASSWORDS: Final = ("etc/passwd", "etc/shadow")
KEPT: Final = (OWN, SEAL, EMULATOR)
KEPT_MAX: Final = 200
"""Of files that are told by a pattern, and of repositories; a real image has a few."""
KEPT_BYTES_MAX: Final = 4096
"""Of the content of one of them."""


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A file with a secret in it."""

    path: str
    layer: int
    kind: str


@dataclass(kw_only=True)
class Contents:
    """What was found."""

    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Path → layer and content, of the files that rules read and a container sees."""
    secrets: dict[str, Secret] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    """Paths of secrets that a higher layer removes or replaces."""
    secret_count: int = 0
    repositories: dict[str, int] = field(default_factory=dict)
    """Path of a Git repository → layer."""
    leaving: dict[str, int] = field(default_factory=dict)
    """Path that leads out of the image → layer; the first of them."""

    def matching(self, pattern: re.Pattern[str]) -> list[str]:
        """Return the paths of files that a container sees."""
        return sorted(path for path in self.files if pattern.search(path))

    def add(self, one: LayerFile) -> None:
        """Take one entry of a layer, in the order of the layers."""
        path, name = one.entry.path, posixpath.basename(one.entry.path)
        if one.entry.leaves:
            if not self.leaving:
                self.leaving[path] = one.layer
            return
        if name == OPAQUE:
            self._remove_below(posixpath.dirname(path), one.layer)
        elif name.startswith(WHITEOUT):
            target = posixpath.join(posixpath.dirname(path), name.removeprefix(WHITEOUT))
            self._remove(target, one.layer)
            self._remove_below(target, one.layer)
        elif not one.entry.is_dir:
            self._remove(path, one.layer)
            self._remove_below(path, one.layer)
            if one.entry.is_file:
                self._keep(one)

    def _keep(self, one: LayerFile) -> None:
        path, size = one.entry.path, one.entry.size
        if secret_files.is_repository(path) and len(self.repositories) < KEPT_MAX:
            self.repositories.setdefault(posixpath.dirname(path), one.layer)
        whole = path == PRODUCT or path in PASSWORDS
        kept = whole or (len(self.files) < KEPT_MAX and any(pattern.search(path) for pattern in KEPT))
        named = secret_files.by_name(path) if size else ""
        scanned = 0 < size <= secret_files.SCANNED_MAX
        if not (kept or scanned):
            if named:
                self._add_secret(path, one.layer, named)
            return
        content = one.content(CONTENT_MAX)
        if kept:
            self.files[path] = (one.layer, content if whole else content[:KEPT_BYTES_MAX])
        if kind := named or (secret_files.by_content(path, content) if scanned else ""):
            self._add_secret(path, one.layer, kind)

    def _add_secret(self, path: str, layer: int, kind: str) -> None:
        self.secret_count += 1
        if len(self.secrets) < SECRETS_MAX:
            self.secrets[path] = Secret(path=path, layer=layer, kind=kind)
            self.removed.discard(path)

    def _remove(self, path: str, layer: int) -> None:
        self.files.pop(path, None)
        if path in self.secrets and self.secrets[path].layer < layer:
            self.removed.add(path)

    def _remove_below(self, directory: str, layer: int) -> None:
        """Remove what lower layers have below a directory. What this layer brought itself stays."""
        prefix = "" if directory in ("", ".") else f"{directory}/"
        for path in [path for path, (of, _) in self.files.items() if path.startswith(prefix) and of < layer]:
            del self.files[path]
        self.removed |= {path for path, one in self.secrets.items() if path.startswith(prefix) and one.layer < layer}


def contents_of(files: Iterable[LayerFile]) -> Contents:
    """Return what is found in the files of all layers."""
    found = Contents()
    for one in files:
        found.add(one)
    return found
