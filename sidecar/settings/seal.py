"""Record the digest of the product manifest in the image, and compare it at every start.

A volume that is mounted over `/etc/entitlement-sidecar` hides the manifest or brings another one. The digest lies
beside the code, where a volume would hide the sidecar itself.

Invariants:
- An image with a digest runs with that very manifest, byte for byte, or not at all.
- An image without one (the sidecar's own, before a seller seals it) runs with or without a manifest.
- A digest that cannot be read is a fault, never skipped.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from sidecar.digests import sha256
from sidecar.errors import Problem, SettingsError

SEAL_PATH: Final = Path(__file__).resolve().parent.parent / "manifest.sha256"
"""In the package's own directory: read-only in the image, and root's."""
MODE: Final = 0o444
SIZE_MAX: Final = 1 << 20
"""In bytes, of the file with the digest."""
PART_BYTES: Final = 1 << 16
DIGEST: Final = re.compile(r"[0-9a-f]{64}\n")


def record(manifest: Path, seal: Path = SEAL_PATH) -> str:
    """Write the manifest's digest into the image and return it. Raises SettingsError."""
    try:
        digest = _digest(manifest)
        seal.unlink(missing_ok=True)
        handle = os.open(seal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            os.fchmod(handle, MODE)  # whatever the umask of the build: another user reads it
            file.write(f"{digest}\n")
    except OSError as exc:
        fault = f"cannot be sealed: {exc.strerror} ({exc.filename}). Seal while the image is built, as root (USER 0)."
        raise SettingsError([Problem(setting=str(manifest), fault=fault)]) from exc
    return digest


def problem(manifest: Path, seal: Path = SEAL_PATH) -> Problem | None:
    """Return why this is not the manifest that the image was sealed with; None where it is, or none was."""
    try:
        with seal.open(encoding="ascii") as file:
            recorded = file.read(SIZE_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as exc:
        return Problem(
            setting=str(seal), fault=f"cannot be read: {getattr(exc, 'strerror', None) or 'it is not text'}."
        )
    if not DIGEST.fullmatch(recorded):
        return Problem(setting=str(seal), fault="is not a digest. Build the image again with `manifest seal`.")
    try:
        found = _digest(manifest)
    except FileNotFoundError:
        found = ""
    except OSError as exc:
        return Problem(setting=str(manifest), fault=f"cannot be read: {exc.strerror}.")
    if found == recorded.strip():
        return None
    seen = f"has SHA-256 {found[:12]}…" if found else "is missing"
    fault = (
        f"{seen}, but this image was sealed with the manifest of SHA-256 {recorded[:12]}…. Remove what is mounted over"
        f" {manifest.parent}, or seal the changed manifest with `manifest seal` while the image is built."
    )
    return Problem(setting=str(manifest), fault=fault)


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            digest.update(part)
    return digest.hexdigest()
