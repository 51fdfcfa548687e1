"""Write why the process ends to the file that `kubectl describe pod` shows.

Invariants:
- Written only where the file exists already, as the kubelet makes it: a sidecar creates no files in /dev.
- At most 4096 bytes, what the kubelet reads.
- No control character but the line break: `kubectl describe` writes it to a terminal as it is.
- Never fails: it is the last step before the end.

Sources: kubernetes.io, "Determine the reason for Pod failure".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sidecar.printable import lines

BYTES_MAX: Final = 4096


def note(path: Path, text: str) -> None:
    """Leave `text` for the operator; an empty note clears an older one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        cut = lines(text).encode("utf-8", "replace")[:BYTES_MAX]
        os.write(handle, cut.decode("utf-8", "ignore").encode())  # not cut inside a character
    except OSError:
        pass
    finally:
        os.close(handle)
