"""Read the bearer token of the product's listener from its file.

Invariants:
- No error quotes the token.
- It is read once, at the start; commands read it each time. A new token takes effect at the next start.

Sources: RFC 6750, section 2.1 (what a bearer token is made of).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FILE_BYTES_MAX: Final = 8192
SHAPE: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,4096}=*")


def read(path: Path) -> str:
    """Return the token in this file. Raises ValueError with a fault that does not quote it."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise ValueError(f"names {path}, which cannot be read: {exc.strerror}.") from exc
    token = content.decode("latin-1").strip()
    if not SHAPE.fullmatch(token):
        raise ValueError(
            f"names {path}, whose content is not a token: at least 16 letters, digits and -._~+/ on one line, as"
            " `openssl rand -hex 32` makes one."
        )
    return token
