"""Why did the process end by itself? The note that `kubectl describe pod` shows.

Rules kept here:
- Written only where the file exists already, as the kubelet makes it: a sidecar does not litter /dev.
- At most 4096 bytes, what the kubelet reads.
- Never fails: it is said on the way out, after everything else.

Source: kubernetes.io, "Determine the reason for Pod failure".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 4096


def note(path: Path, text: str) -> None:
    """Leave `text` for the operator; an empty note clears an older one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        cut = text.encode("utf-8", "replace")[:BYTES_MAX]
        os.write(handle, cut.decode("utf-8", "ignore").encode())  # not cut inside a character
    except OSError:
        pass
    finally:
        os.close(handle)
