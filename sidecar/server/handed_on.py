"""Hand descriptors on from one worker to the next, with a few bytes that say what they are.

Invariants:
- The message is looked at, and stays: every worker that follows finds the same. While it waits, each socket in it
  listens on, and what connects waits for the next worker.
- A process that ends for good drops it first, or clients would wait for an answer that never comes.

Sources: unix(7), SCM_RIGHTS; recv(2), MSG_PEEK; cmsg(3).
"""

from __future__ import annotations

import _socket
import os
import struct
from collections.abc import Sequence
from typing import Final

from sidecar.server.supervised import Supervised

DESCRIPTORS_MAX: Final = 253
"""Of one message (SCM_MAX_FD)."""
INT_BYTES: Final = struct.calcsize("i")


def hand_on(shared: Supervised, content: bytes, descriptors: Sequence[int]) -> None:
    """Leave this to the workers that follow. Raises OSError."""
    memory = os.memfd_create("handed-on", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(content)
        all_of_it = struct.pack(f"{1 + len(descriptors)}i", memory, *descriptors)
        shared.keeps.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, all_of_it)], _socket.MSG_DONTWAIT)
    finally:
        os.close(memory)


def take(shared: Supervised) -> tuple[bytes, list[int]] | None:
    """Return what an earlier worker left, as descriptors of this process's own; None where none did."""
    found = _received(shared, _socket.MSG_PEEK)
    if not found:
        return None
    size = os.fstat(found[0]).st_size
    content = os.pread(found[0], size, 0)
    os.close(found[0])
    return content, found[1:]


def drop(shared: Supervised) -> None:
    """Leave nothing to anyone."""
    for one in _received(shared, 0):
        os.close(one)


def _received(shared: Supervised, flags: int) -> list[int]:
    flags |= _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
    try:
        _, ancillary, _, _ = shared.kept.recvmsg(1, _socket.CMSG_LEN(DESCRIPTORS_MAX * INT_BYTES), flags)
    except BlockingIOError:
        return []
    return [one for _, _, data in ancillary for (one,) in struct.iter_unpack("i", data)]
