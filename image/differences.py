"""Name what differs between two images, file by file: contents, modes, owners, links.

image/differences.py IMAGE IMAGE

Times of files are not compared: a build writes its own, unless the builder is told another (`--source-date-epoch`).
Exits with 0 where nothing else differs, and with 1 after the list. Takes podman, else docker, or what
$SIDECAR_CONTAINER_ENGINE names.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sbom import engine


class Entry(NamedTuple):
    """What one name in an image is."""

    kind: str
    mode: int
    owner: tuple[int, int]
    link: str
    digest: str
    """Of a file's content; empty for anything else."""


def entries(archive: tarfile.TarFile) -> Iterator[tuple[str, Entry]]:
    """Yield name and entry of everything in an exported image."""
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        digest = hashlib.file_digest(content, "sha256").hexdigest() if content else ""
        kind = member.type.decode()
        yield member.name, Entry(kind, member.mode, (member.uid, member.gid), member.linkname, digest)


def differences(first: Mapping[str, Entry], second: Mapping[str, Entry]) -> list[str]:
    """Return a line for each name that is not the same in both."""
    found = []
    for name in sorted({*first, *second}):
        if name not in second or name not in first:
            found.append(f"{name}: only in the {'first' if name in first else 'second'}")
        elif first[name] != second[name]:
            fields = [field for field in Entry._fields if getattr(first[name], field) != getattr(second[name], field)]
            found.append(f"{name}: {', '.join(fields)}")
    return found


def exported(command: str, image: str) -> dict[str, Entry]:
    """Return what is in an image, which is never started."""
    made = subprocess.run([command, "create", image], capture_output=True, text=True, check=True)
    container = made.stdout.split()[-1]
    try:
        with (
            subprocess.Popen([command, "export", container], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            found = dict(entries(archive))
        if export.returncode:
            raise SystemExit(f"{command} export ended with {export.returncode}")
        return found
    finally:
        subprocess.run([command, "rm", "-f", container], capture_output=True, check=False)


def main(first: str, second: str) -> int:
    """Print the differences. Returns the exit code."""
    command = engine()
    one, other = exported(command, first), exported(command, second)
    found = differences(one, other)
    for line in found:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(one)} names in {first}, {len(found)} of them not as in {second}\n")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: image/differences.py IMAGE IMAGE")
    sys.exit(main(*sys.argv[1:]))
