"""Read the files of a chart from its directory.

Invariants:
- A link is followed to a file inside the chart and nowhere else: a cycle, a device or a file of this machine is named
  and not read.
- FILES_MAX, FILE_BYTES_MAX and CHART_BYTES_MAX bound what is read; what is over them is named.
- `.helmignore` leaves out what Helm leaves out.

Sources: Helm, "The .helmignore File"; helm.sh/helm/v3/pkg/chart/loader.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from sidecar.quick_dataclasses import dataclass, field

FILES_MAX: Final = 2_000
"""Files and directories of a chart that are looked at."""
FILE_BYTES_MAX: Final = 5 << 20
"""Helm (from 3.18 on) loads no larger file of a chart."""
CHART_BYTES_MAX: Final = 32 << 20
"""All files together."""
ARCHIVE: Final = ".tgz"


class Refused(Exception):
    """A file that is not read."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A file that could not be read."""

    path: str
    fault: str
    line: int | None = None


@dataclass(kw_only=True)
class Files:
    """The files of a chart: path relative to its directory, with `/`, → content."""

    contents: dict[str, bytes] = field(default_factory=dict)
    """What an archive in `charts/` holds stands under the archive's own path."""
    troubles: list[Trouble] = field(default_factory=list)
    bytes_read: int = 0

    def add(self, path: str, content: bytes) -> None:
        """Add a file. Raises Refused where that would be too much."""
        if len(self.contents) >= FILES_MAX or self.bytes_read + len(content) > CHART_BYTES_MAX:
            raise Refused(f"is not read: the chart has more than {FILES_MAX} files or {CHART_BYTES_MAX} bytes")
        self.contents[path] = content
        self.bytes_read += len(content)


def read(root: Path) -> Files:
    """Return the files below `root`, archives of dependencies opened."""
    files = Files()
    ignored = _Ignored(_text(root / ".helmignore"))
    for path, entry in _walk(root, files, ignored):
        _take(files, root, path, entry)
    for path in [one for one in files.contents if one.endswith(ARCHIVE) and "charts" in one.split("/")[:-1]]:
        _open_archive(files, path)
    return files


def _walk(root: Path, files: Files, ignored: _Ignored) -> Iterator[tuple[str, Path]]:
    """Yield every entry that is packed and no directory, in order, not following links."""
    left, count = [""], 0
    while left:
        directory = left.pop()
        try:
            names = sorted(os.listdir(root / directory))
        except OSError as exc:
            files.troubles.append(Trouble(path=directory or ".", fault=f"cannot be read: {exc.strerror}"))
            continue
        for name in names:
            path = f"{directory}/{name}".lstrip("/")
            entry = root / path
            is_directory = entry.is_dir() and not entry.is_symlink()
            if ignored.is_ignored(path, directory=is_directory):
                continue
            count += 1
            if count > FILES_MAX:
                files.troubles.append(
                    Trouble(path=path, fault=f"is not read: the chart has more than {FILES_MAX} files")
                )
                return
            if is_directory:
                left.append(path)
            else:
                yield path, entry


def _take(files: Files, root: Path, path: str, entry: Path) -> None:
    """Read one file into `files`, or say why not."""
    try:
        real = entry.resolve(strict=True)
        if not real.is_relative_to(root.resolve()):
            raise Refused("is a link that leads out of the chart. Copy the file into the chart")
        if real.is_dir():
            raise Refused("is a link to a directory: what is below it was not checked. Copy the directory")
        files.add(path, _content(real))
    except RuntimeError:
        files.troubles.append(Trouble(path=path, fault="is a link in a cycle of links"))
    except OSError as exc:
        files.troubles.append(Trouble(path=path, fault=f"cannot be read: {exc.strerror}"))
    except Refused as exc:
        files.troubles.append(Trouble(path=path, fault=str(exc)))


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("is no file: a pipe, a socket or a device")
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise Refused(f"is larger than {FILE_BYTES_MAX} bytes, which Helm does not load")
    return content


def _open_archive(files: Files, path: str) -> None:
    """Put the members of a packed dependency below its path."""
    import io

    content = files.contents[path]
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                if member.isfile():
                    _add_member(files, path, archive, member)
    except (tarfile.TarError, EOFError, OSError, ValueError) as exc:
        files.troubles.append(Trouble(path=path, fault=f"is no packed chart: {exc}"))
    except Refused as exc:
        files.troubles.append(Trouble(path=path, fault=str(exc)))


def _add_member(files: Files, path: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    if member.size > FILE_BYTES_MAX:
        raise Refused(f"holds {member.name}, which is larger than {FILE_BYTES_MAX} bytes")
    taken = archive.extractfile(member)
    inside = member.name.split("/", 1)[-1]
    if taken is not None and ".." not in inside.split("/"):
        files.add(f"{path}/{inside}", taken.read())


def _text(path: Path) -> str:
    try:
        return _content(path).decode("utf-8", "replace")
    except (OSError, Refused):
        return ""


class _Ignored:
    """The rules of a `.helmignore`, as Helm reads them: a `!` leaves out everything that it does not name."""

    def __init__(self, text: str) -> None:
        lines = (line.strip() for line in text.splitlines())
        self._rules = [*(line for line in lines if line and not line.startswith("#")), "templates/.?*"]

    def is_ignored(self, path: str, *, directory: bool) -> bool:
        """Return whether a file or a directory is left out; what is below a directory goes with it."""
        for rule in self._rules:
            pattern = rule.removeprefix("!")
            whole = "/" in pattern.rstrip("/")
            fits = _fits(pattern.strip("/"), path if whole else path.rpartition("/")[2])
            if (fits and (directory or not pattern.endswith("/"))) != rule.startswith("!"):
                return True
        return False


def _fits(pattern: str, path: str) -> bool:
    """Return whether Go's path/filepath.Match says so: no `*` and no `?` stands for a `/`."""
    parts, names = pattern.split("/"), path.split("/")
    return len(parts) == len(names) and all(map(fnmatchcase, names, map(_as_fnmatch, parts)))


def _as_fnmatch(pattern: str) -> str:
    """Return what Python writes otherwise: `[^a]` as `[!a]`, `[!a]` as `[a!]`, and an escape as a set of one."""
    pattern = re.sub(r"\\(.)", r"[\1]", pattern)
    return re.sub(r"\[!([^\]]*)\]", r"[\1!]", pattern).replace("[^", "[!")
