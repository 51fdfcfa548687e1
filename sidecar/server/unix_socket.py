"""Make, check and remove the Unix socket of a listener.

Invariants:
- The file has its mode and group before anyone can connect: it is bound with the narrowest mode, and listened on last.
- A file is replaced only where it is a socket that nothing listens on. Anything else is an error, and stays.
- Two processes that start with one path do not replace each other's: what is there is judged, and the socket made,
  under a lock on the directory.
- A socket is removed while it is still listened on, so what another process put in its place stays.
- Mode and group are set on the file that was found to be a socket, by its descriptor: a link that a process with
  write access to the directory puts in its place leads to no other file.

Sources: unix(7) (connecting needs write permission; a socket without a listener refuses), SO_PEERCRED; flock(2);
open(2), O_PATH.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.directory_lock import locked

CONNECT_SECONDS: Final = 1.0
BOUND: Final = 0o177
"""The umask while the socket is bound: until mode and group are set it is its owner's alone."""
REPLACED: Final = "another process took the socket away as it was made. Let only the sidecar write to its directory"
CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred`: process, user, group."""


class SocketFault(Exception):
    """The socket cannot be made. The text says what is there, and the fix."""


class Access(NamedTuple):
    """Who may connect."""

    mode: int
    group: str | None = None
    """Number or name; None leaves what the directory gives."""


class SocketFile(NamedTuple):
    """The file of a socket, as it was made."""

    path: Path
    device: int
    inode: int


def listen(path: Path, access: Access, backlog: int) -> tuple[socket.socket, SocketFile]:
    """Return a listening socket and its file; a stale one is replaced. Raises SocketFault."""
    gid = _gid(access.group)
    with _locked(path.parent):
        if _is_stale(path):
            path.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            file = _bind(sock, path, access.mode, gid)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        return sock, file


def check(path: Path, access: Access) -> None:
    """Raise SocketFault where `listen` would; nothing is changed."""
    gid = _gid(access.group)
    with _locked(path.parent):
        _is_stale(path)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise SocketFault(_no_directory(path.parent, os.strerror(errno.EACCES)))
    if gid is not None and os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
        raise SocketFault(_not_a_member(gid))


def remove(file: SocketFile) -> None:
    """Remove the file, unless it is another's by now. Call it while the socket listens still."""
    with suppress(OSError):
        found = os.lstat(file.path)
        if (found.st_dev, found.st_ino) == (file.device, file.inode):
            os.unlink(file.path)


def _bind(sock: socket.socket, path: Path, mode: int, gid: int | None) -> SocketFile:
    before = os.umask(BOUND)  # of the whole process, which has one thread until it serves
    try:
        sock.bind(str(path))
    except OSError as exc:
        raise SocketFault(_no_directory(path.parent, exc.strerror or str(exc))) from exc
    finally:
        os.umask(before)
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise SocketFault(REPLACED) from exc
    try:
        return _let_in(fd, path, mode, gid)
    finally:
        os.close(fd)


def _let_in(fd: int, path: Path, mode: int, gid: int | None) -> SocketFile:
    """Give the socket that this descriptor (O_PATH) leads to its group and mode. Raises SocketFault."""
    found = os.fstat(fd)
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketFault(REPLACED)
    file, same = SocketFile(path, found.st_dev, found.st_ino), f"/proc/self/fd/{fd}"
    try:
        if gid is not None:
            os.chown(same, -1, gid)
        os.chmod(same, mode)
    except OSError as exc:
        remove(file)
        raise SocketFault(_not_a_member(gid) if exc.errno == errno.EPERM and gid is not None else str(exc)) from exc
    return file


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(directory))
        except OSError as exc:
            raise SocketFault(_no_directory(directory, exc.strerror or str(exc))) from exc
        yield


def _is_stale(path: Path) -> bool:
    """Return whether a socket is there that nothing listens on. Raises SocketFault for anything else that is there."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise SocketFault(f"it cannot be looked at: {exc.strerror}") from exc
    if not stat.S_ISSOCK(kind):
        raise SocketFault("what is there is no socket, and is not replaced. Remove it, or name another file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError as exc:
            raise SocketFault(
                f"a socket is there of which it cannot be told whether a process listens on it ({exc.strerror or exc});"
                " it is not replaced. Remove it, or name another file"
            ) from exc
        raise SocketFault(f"{_listener(client)} listens on it. Give each sidecar a file of its own, or stop that one")


def _listener(client: socket.socket) -> str:
    """Return who listens at the other end; a process outside this container has no number here."""
    pid, uid, _ = CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return f"process {pid} (user {uid})" if pid else f"a process of another container (user {uid})"


def _gid(group: str | None) -> int | None:
    if group is None or group.isdecimal():
        return None if group is None else int(group)
    import grp  # only where a name is given

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SocketFault(
            f"its group {group!r} (SIDECAR_API_SOCKET_GROUP) is not known here; give its number"
        ) from None


def _not_a_member(gid: int | None) -> str:
    return (
        f"its group {gid} (SIDECAR_API_SOCKET_GROUP) is none of this process: add it to the pod's"
        " securityContext.supplementalGroups, or set SIDECAR_API_SOCKET_MODE to 0666 where the volume is mounted by the"
        " product and the sidecar alone"
    )


def _no_directory(directory: Path, fault: str) -> str:
    return f"{directory}: {fault}. Mount a volume there that user {os.geteuid()} can write to"
