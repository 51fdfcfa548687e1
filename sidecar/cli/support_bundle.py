"""Run `support-bundle`: write what a vendor's support asks for into one archive.

Invariants:
- It works beside a running sidecar and, with less in it, without one; `manifest.json` says of each part whether it is
  there, what was left out, or why it is missing.
- Everything is masked before it is written (`masking`), wherever it came from.
- A file is there whole or not at all, for its owner alone, and an existing one is never replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gzip
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sidecar.cli.commands import Commands
from sidecar.cli.progress import Progress
from sidecar.errors import Exit

if TYPE_CHECKING:
    from sidecar.cli.bundle_parts import Part
    from sidecar.cli.masking import Masking

STDOUT: Final = "-"
FOLDER: Final = "entitlement-sidecar-support"
MODE: Final = 0o600
NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What link(2) says on a file system without hard links."""


class NotWritten(Exception):
    """The archive cannot be written. The text has the value, the rule and the fix."""


def add_parser(commands: Commands) -> None:
    """Add the command `support-bundle`."""
    command = commands.add(
        "support-bundle",
        _run,
        "write what the vendor's support asks for into one .tar.gz: settings, doctor, status, metrics, records, log and"
        " versions, without secrets",
        "0 written, 69 written without what a running sidecar would say, 1 not written",
        "kubectl exec POD -c entitlement-sidecar -- entitlement-sidecar support-bundle - > bundle.tar.gz",
    )
    command.add_argument("file", metavar="FILE", help="file to make, such as bundle.tar.gz; - writes to stdout")


def _run(args: argparse.Namespace) -> int:
    try:
        with _destination(args.file) as out:
            answered = write_bundle(out, os.environ, args.manifest_path)
    except NotWritten as exc:
        sys.stderr.write(f"{exc}\n")
        return Exit.FAILED
    if answered:
        return Exit.OK
    sys.stderr.write("written without what a running sidecar would say; manifest.json in it says why\n")
    return Exit.UNAVAILABLE


def write_bundle(out: BinaryIO, env: Mapping[str, str], manifest_path: Path) -> bool:
    """Collect every part and write the archive. Returns whether a sidecar told its status."""
    from sidecar.cli import bundle_parts
    from sidecar.cli.masking import Masking
    from sidecar.clock import SystemClock

    now = SystemClock().now()
    sidecar = bundle_parts.RunningSidecar()
    progress = Progress()
    parts = []
    makers = bundle_parts.makers(manifest_path, env, sidecar, lambda: _diagnose(manifest_path, progress))
    for name, maker in makers.items():
        progress.show(f"collecting {name}")
        parts.append(bundle_parts.make(name, maker))
    progress.clear()
    out.write(archive(parts, Masking(env, _token_files(env, manifest_path)), now, sidecar.answered))
    out.flush()
    return any(part.name == bundle_parts.STATUS and part.content is not None for part in parts)


def archive(parts: Sequence[Part], masking: Masking, now: datetime, answered: bool) -> bytes:
    """Return the archive, as gzip: `manifest.json` first, then each part that is there."""
    shown = {part.name: masking.masked(part.content) for part in parts if part.content is not None}
    manifest = masking.masked(_manifest(parts, shown, now, answered))
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=int(now.timestamp())) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as tar,
    ):
        for name, content in {"manifest.json": manifest, **shown}.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size, member.mode, member.mtime = len(content), MODE, int(now.timestamp())
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _manifest(parts: Sequence[Part], shown: Mapping[str, bytes], now: datetime, answered: bool) -> bytes:
    from sidecar import __version__
    from sidecar.cli.bundle_parts import json_bytes
    from sidecar.clock import iso

    rows = [
        {
            "file": part.name,
            "bytes": len(shown[part.name]) if part.name in shown else None,
            "missing": part.note if part.content is None else None,
            "left_out": part.note or None if part.content is not None else None,
        }
        for part in parts
    ]
    document = {"version": __version__, "written_at": iso(now), "sidecar_answered": answered, "parts": rows}
    return json_bytes(document)


def _diagnose(manifest_path: Path, progress: Progress) -> object:
    from sidecar.cli.doctor import context_of
    from sidecar.doctor.diagnosis import diagnose

    return diagnose(context_of(manifest_path), begun=lambda id_: progress.show(f"checking {id_}")).as_json()


def _token_files(env: Mapping[str, str], manifest_path: Path) -> list[Path]:
    """Return the file of the API token, which a settings file or the manifest may name."""
    from sidecar.cli.bundle_parts import PART_SECONDS
    from sidecar.doctor.network import within
    from sidecar.errors import SettingsError
    from sidecar.settings import Settings

    try:
        found = within(PART_SECONDS, lambda: Settings.load(env, {}, manifest_path)).api_token_file
    except (SettingsError, TimeoutError):
        return []
    return [found] if found else []


@contextlib.contextmanager
def _destination(file: str) -> Iterator[BinaryIO]:
    """Open where the archive goes, before the work. Raises NotWritten."""
    if file == STDOUT:
        if sys.stdout.isatty():
            raise NotWritten(
                "stdout is a terminal, and the archive is binary: write `support-bundle - > bundle.tar.gz`."
            )
        yield sys.stdout.buffer
        return
    path = Path(file)
    if path.exists() or path.is_symlink():
        raise NotWritten(f"{file} exists, and is not replaced: name a file that does not.")
    try:
        with _new_file(path) as out:
            yield out
    except OSError as exc:
        fix = "name a file in a directory that can be written, such as /tmp, or write to stdout: `support-bundle -`."
        raise NotWritten(f"{file} cannot be written ({exc.strerror}): {fix}") from exc


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name once it is whole and on disk. Raises OSError."""
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _name(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _name(partial: str, path: Path) -> None:
    """Give a file its name. Raises OSError, FileExistsError where another has taken it meanwhile."""
    try:
        os.link(partial, path)  # unlike a rename, it replaces nothing
    except OSError as exc:
        if exc.errno not in NO_LINKS:
            raise
        os.rename(partial, path)
