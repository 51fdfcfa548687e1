"""List the licenses of the Python packages that the images carry, and refuse one that nobody has looked at.

    python image/licenses.py            compare docs/reference/licenses.md with what is installed
    python image/licenses.py --write    write it

Invariants:
- The packages are those of the lock files, each at its locked version; one that is not installed is an error.
- A license is an SPDX expression. What a package says in another form is translated by a table, and by nothing else.

Sources: Python core metadata (License-Expression, License, Classifier), SPDX license list, SPDX license expressions.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "licenses.md"
LOCKS: Final[Mapping[str, str]] = {"requirements.lock": "sidecar", "requirements-saas.lock": "SaaS service"}
"""Lock file → the image that is made from it."""
PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)

ALLOWED: Final = frozenset(
    ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0")
)
"""SPDX identifiers. LGPL and MPL: the package is used as it was published, and anyone can put another in its place."""
OTHER_FORMS: Final[Mapping[str, str]] = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}
"""What a package says → its SPDX expression; `Dual License` is python-dateutil's, `BSD License` that of Pallets."""
HEAD: Final = """\
<!-- Generated from the lock files by `python image/licenses.py --write`. -->

# Licenses

For auditors: the Python packages in the images, with the license that each of them names. The tests fail for a
license that is not one of {allowed}.

The packages of the base image are in the [bill of materials](../howto/build-the-image.md).

| Package | Version | License | Image |
| --- | --- | --- | --- |
"""


def pinned(lock: str) -> dict[str, str]:
    """Return name → version of a lock file's text."""
    return {found["name"]: found["version"] for found in PINNED.finditer(lock)}


def license_of(about: Message) -> str:
    """Return the SPDX expression of a package's metadata. Raises ValueError for one that is not allowed."""
    said = about.get("License-Expression") or about.get("License") or _classified(about)
    found = OTHER_FORMS.get(said, said)
    if not {one.strip("() ") for one in re.split(" AND | OR ", found)} <= ALLOWED:
        raise ValueError(
            f"{about['Name']} {about['Version']}: license {said!r} is neither allowed nor known in another form; read"
            " it, then add it to ALLOWED or OTHER_FORMS in image/licenses.py, or take another package"
        )
    return found


def _classified(about: Message) -> str:
    """Return the last word of the one classifier about a license; empty where there is none, or more than one."""
    found = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier", []) if one.startswith("License ::")]
    return found[0] if len(found) == 1 else ""


def rows(
    locks: Mapping[str, str], about: Callable[[str], Message] = lambda name: metadata.distribution(name).metadata
) -> Iterator[tuple[str, str, str, str]]:
    """Yield package, version, license and images. `locks`: image → the text of its lock. Raises ValueError."""
    images: dict[tuple[str, str], list[str]] = {}
    for image, text in locks.items():
        for package in pinned(text).items():
            images.setdefault(package, []).append(image)
    for (name, version), where in sorted(images.items()):
        found = about(name)
        if found["Version"] != version:
            raise ValueError(f"{name}: {found['Version']} is installed and {version} is locked; run `uv sync --locked`")
        yield name, version, license_of(found), ", ".join(where)


def page() -> str:
    """Return the page. Raises ValueError."""
    locks = {image: (ROOT / lock).read_text() for lock, image in LOCKS.items()}
    lines = [f"| {' | '.join(row)} |" for row in rows(locks)]
    return HEAD.format(allowed=", ".join(sorted(ALLOWED))) + "\n".join(lines) + "\n"


def main() -> int:
    """Compare or write. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page")
    write = parser.parse_args().write
    try:
        text = page()
    except (ValueError, metadata.PackageNotFoundError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    if write:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        sys.stderr.write(f"{PAGE.relative_to(ROOT)}: not current; run `python image/licenses.py --write`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
