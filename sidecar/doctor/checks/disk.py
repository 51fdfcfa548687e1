"""Check that the volume of the state directory has room, can be written and syncs quickly.

A small file is written there, synced and removed.

Sources: statvfs(3), fsync(2).
"""

from __future__ import annotations

import errno
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.doctor.checks.state_dir import broken, is_read_only
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, passed, skipped, warned
from sidecar.printable import one_line
from sidecar.settings import Settings

RULE: Final = (
    "The volume of SIDECAR_STATE_DIR is writable, has room for the ledger and its log, and syncs quickly: every push"
    " waits until its usage is on the disk."
)
READ_ONLY: Final = "the volume is mounted read-only"
FULL: Final = "the volume is full"
BROKEN: Final = "the volume does not take a file"
LITTLE: Final = "little room is left"
SLOW: Final = "a sync is slow"
FIXES: Final[Mapping[str, str]] = {
    READ_ONLY: "Mount the volume at {path} writable: remove `readOnly: true` from the sidecar's volumeMounts entry"
    " (ECS: `readOnly` of mountPoints).",
    FULL: "Free space on the volume of {path} or make it larger (`df -h {path}; df -i {path}`); usage is accepted again"
    " by itself as soon as there is room.",
    BROKEN: "Look at the kernel log of the node (`dmesg`) and at the volume of {path}; then replace the volume.",
    LITTLE: "Make the volume of {path} larger, or remove what does not belong there (`du -a {path}`); keep"
    " ledger-* files: they hold usage.",
    SLOW: "Give {path} a faster volume, or one that fewer workloads share; on EBS, look at its IOPS and burst balance.",
}
FREE_BYTES_LITTLE: Final = 16 * 1024 * 1024
"""Twice what the ledger's log may grow to."""
FREE_INODES_LITTLE: Final = 16
"""A workload has about six files."""
SYNCS: Final = 5
SLOW_SECONDS: Final = 0.1
"""A product that posts usage in its request path waits as long."""
ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MIB: Final = 1024 * 1024


def check(context: Context) -> Finding:
    """Return free space, free inodes and the time of a sync."""
    settings = context.settings
    if settings is None or not os.path.isdir(settings.state_dir):
        return skipped(RULE, "there is no directory yet (state_dir)")
    path = settings.state_dir
    if is_read_only(path):
        return broken(settings, RULE, f"{path}: {READ_ONLY}", FIXES[READ_ONLY].format(path=path))
    room, little = _room(path)
    try:
        seconds = sync_seconds(path)
    except OSError as exc:
        return _not_written(settings, exc, room)
    seen = f"{path}: {room}; a sync takes {seconds * 1000:.1f} ms"
    if little:
        return warned(RULE, seen, FIXES[LITTLE].format(path=path))
    if seconds > SLOW_SECONDS:
        return warned(RULE, seen, FIXES[SLOW].format(path=path))
    return passed(RULE, seen)


def _room(path: Path) -> tuple[str, bool]:
    """Return what is free, in words, and whether it is little."""
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    little = free < FREE_BYTES_LITTLE or (found.f_files > 0 and found.f_favail < FREE_INODES_LITTLE)
    inodes = f", {found.f_favail} inodes free" if found.f_files else ""  # some file systems do not count them
    return f"{free // MIB} of {found.f_blocks * found.f_frsize // MIB} MiB{inodes}", little


def sync_seconds(path: Path) -> float:
    """Return how long the disk takes to keep a small write, the median of a few. Raises OSError."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-") as file:
        for _ in range(SYNCS):
            file.write(b"\0" * 4096)
            begun = time.monotonic()
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.monotonic() - begun)
    return statistics.median(taken)


def _not_written(settings: Settings, exc: OSError, room: str) -> Finding:
    path = settings.state_dir
    if exc.errno in (errno.EACCES, errno.EPERM):
        return skipped(RULE, f"{path}: {room}; this user may not write there (state_dir)")
    kind = FULL if exc.errno in ROOM else BROKEN
    seen = f"{path}: {room}; a small file could not be written: {one_line(exc.strerror or type(exc).__name__)}"
    return broken(settings, RULE, seen, FIXES[kind].format(path=path))
