"""Parse JSON without importing `json`, whose decoder brings `re` and `enum`: most of what a health check would import.

The scanner is the one that `json` uses. `healthcheck` imports this module: it imports next to nothing itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, which is another large import
if TYPE_CHECKING:
    from typing import NoReturn


def loads(content: bytes) -> object:
    """Return what `json.loads` returns. Raises ValueError, or RecursionError where the document is too deep.

    `json` has the last word on all that is not plain: an error, another encoding, NaN. The scanner of Python 3.11
    raises SystemError for an error while `json` is not imported.
    """
    try:
        from _json import make_scanner

        text = content.decode().strip(" \t\r\n")
        found, end = make_scanner(_Context)(text, 0)  # type: ignore[arg-type]
        if end == len(text):
            return found
    except (ImportError, StopIteration, ValueError, SystemError):
        pass
    import json

    return json.loads(content)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


class _Context:
    """What the scanner asks its decoder for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = staticmethod(_refuse)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own
