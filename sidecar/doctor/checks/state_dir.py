"""Check what kind of volume the state directory is on, and whether this user may write there.

Sources: proc_pid_mountinfo(5); kubernetes.io, "Volumes" (emptyDir) and "Configure a Security Context" (fsGroup);
Amazon ECS developer guide, "Bind mounts".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.ledger import volume
from sidecar.settings import Settings

RULE: Final = (
    "SIDECAR_STATE_DIR is a directory on a local or block volume that outlives the container, and the sidecar's user"
    " may write there."
)
NETWORK: Final = "a network file system"
LAYER: Final = "the container's own layer"
NO_DIRECTORY: Final = "no directory"
NOT_WRITABLE: Final = "this user may not write there"
FIXES: Final[Mapping[str, str]] = {
    NETWORK: "Mount an emptyDir, an EBS volume or ECS ephemeral storage at {path}: locks and fsync cannot be trusted on"
    " a network file system, so that usage could be lost or billed twice.",
    LAYER: "Mount a volume at {path} (Kubernetes: `emptyDir: {{}}`; ECS: a volume with an empty `host`): a restarted"
    " container begins with an empty layer, without the usage that was not billed yet and without the last answer.",
    NO_DIRECTORY: "Mount a volume at {path}, or let SIDECAR_STATE_DIR name a directory.",
    NOT_WRITABLE: "Kubernetes: set securityContext.fsGroup of the pod to {gid}. Elsewhere: chown {uid}:{gid} {path}",
}
LAYERS: Final = ("overlay", "aufs", "fuse.fuse-overlayfs")
MEMORY: Final = ("tmpfs", "ramfs")
WRITE: Final = os.W_OK | os.X_OK


def check(context: Context) -> Finding:
    """Return the kind of the volume, whose the directory is, and as whom this command runs."""
    settings = context.settings
    if settings is None:
        return skipped(RULE, "not checked: the settings do not name it")
    path = settings.state_dir
    there = next(one for one in (path, *path.parents) if os.path.exists(one))
    kind, seen = kind_of(there), f"{path}: "
    if there != path:
        seen += "not there yet, `run` creates it; " if os.access(there, WRITE, effective_ids=True) else "not seen; "
    if not os.path.isdir(there):
        return broken(settings, RULE, f"{path}: {there} is no directory", FIXES[NO_DIRECTORY].format(path=path))
    seen += f"{kind or 'unknown kind of volume'}{_note(kind)}; {volume.ownership(path).rstrip('.')}"
    facts = {"path": path, "uid": os.geteuid(), "gid": os.getegid()}
    if not os.access(there, WRITE, effective_ids=True) and not is_read_only(there):
        return broken(settings, RULE, seen, FIXES[NOT_WRITABLE].format(**facts))
    if volume.is_network(kind):
        return broken(settings, RULE, seen, FIXES[NETWORK].format(**facts))
    return warned(RULE, seen, FIXES[LAYER].format(**facts)) if kind in LAYERS else passed(RULE, seen)


def broken(settings: Settings, rule: str, seen: str, fix: str) -> Finding:
    """Return a failure where usage is kept there; a warning where only the last answer is."""
    return failed(rule, seen, fix) if settings.dimensions else warned(rule, seen, fix)


def kind_of(directory: Path) -> str:
    """Return the type of the file system a directory is on; empty where it is not known."""
    try:
        return volume.file_system(directory.resolve(), volume.MOUNTINFO.read_text("utf-8", "replace"))
    except OSError:
        return ""


def is_read_only(directory: Path) -> bool:
    """Return whether the volume is mounted read-only; the check of the disk says what to do."""
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)


def _note(kind: str) -> str:
    if kind in MEMORY:
        return " (memory: it ends with the pod or task and counts against its memory limit)"
    return " (gone when the container is restarted)" if kind in LAYERS else ""
