"""Write and read the file that says where a sidecar listens, for ports that are not known beforehand.

    {"probe": "http://127.0.0.1:43117", "api": "unix:/run/gate/api.sock", "instance": "…", "product_code": "…"}

Invariants:
- The file is there whole or not at all.
- `instance` is new at each start. Who asks sends it as the header `HEADER`, and a sidecar of another instance answers
  421: a file that an earlier container left leads to a port that may be another pod's by now.
- The sidecar that wrote the file holds a lock on it for as long as it runs (flock), on every file system of one node.
- `healthcheck` imports this module: it imports next to nothing itself.
"""

from __future__ import annotations

import errno
import os
import stat

from sidecar import quick_json

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

HEADER = "Entitlement-Sidecar-Instance"
OTHER_INSTANCE = 421
"""RFC 9110, section 15.5.20, Misdirected Request."""
ID_CHARACTERS_MAX = 64
BYTES_MAX = 8192
INSTANCE_DIGITS = 32
FIELDS = ("probe", "api", "instance", "product_code")


def default_path(state_dir: str, env: Mapping[str, str]) -> str:
    """Return the file where no setting names one and a port is not known beforehand.

    Pods and tasks may share the volume of the state directory, and healthcheck must not read another one's file. So its
    name has the pod's UID or the ECS container's id, which every process of the container finds in its environment.
    """
    given = env.get("POD_UID") or env.get("ECS_CONTAINER_METADATA_URI_V4", "").rpartition("/")[2]
    own = "".join(one for one in given if one.isascii() and (one.isalnum() or one == "-"))[:ID_CHARACTERS_MAX]
    return os.path.join(state_dir, f"addresses-{own}.json" if own else "addresses.json")


class NotAnAddressFile(ValueError):
    """What is there is something else."""


def read(path: str) -> dict[str, str]:
    """Return the fields of an address file.

    Raises OSError where there is none, NotAnAddressFile where it is something else; an empty one counts as none.
    """
    with _opened(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotAnAddressFile(f"{path} is no regular file")
        content = file.read(BYTES_MAX)
    if not content:  # what a node that lost power leaves of a file that was being replaced
        raise FileNotFoundError(f"{path} is empty")
    try:
        found = quick_json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in FIELDS):
        raise NotAnAddressFile(f"{path} is not the address file of a sidecar")
    if len(found["instance"]) != INSTANCE_DIGITS or not set(found["instance"]) <= set("0123456789abcdef"):
        raise NotAnAddressFile(f"{path} names no instance of a sidecar")  # it would stand in a header
    return {name: found[name] for name in FIELDS}


def in_use(path: str) -> bool:
    """Return whether the sidecar that wrote the file still runs. Raises OSError."""
    import fcntl  # only for the sidecar itself

    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def write(path: str, fields: dict[str, str], mode: int = 0o644) -> int:
    """Put the file in its place at once, and keep its lock until this process ends. Raises OSError.

    Returns the descriptor that has the lock; a process that is forked must not hold it.
    """
    import contextlib
    import fcntl
    import json

    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(handle, mode)
        with open(handle, "wb", closefd=False) as file:
            file.write(json.dumps(fields).encode() + b"\n")
        os.replace(partial, path)
    except BaseException:
        os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    return handle


def _opened(path: str) -> BinaryIO:
    """Open without waiting for the other end of a pipe."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as exc:
        if exc.errno == errno.ENXIO:  # a socket
            raise NotAnAddressFile(f"{path} is no regular file") from exc
        raise
