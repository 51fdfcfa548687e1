"""Parse JSON without importing `json`, whose decoder brings `re` and `enum`: most of what a health check would import.

The scanner is the one that `json` uses. `healthcheck` imports this module: it imports next to nothing itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, which is another large import
if TYPE_CHECKING:
    from typing import NoReturn


def loads(content: bytes) -> object:
    """Return the document that these bytes are in UTF-8. Raises ValueError, or RecursionError where it is too deep."""
    try:
        from _json import make_scanner
    except ImportError:  # another interpreter than CPython
        import json

        return json.loads(content)
    text = content.decode().strip(" \t\r\n")
    try:
        found, end = make_scanner(_Context)(text, 0)  # type: ignore[arg-type]
    except StopIteration:
        raise ValueError("no JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON document")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class _Context:
    """What the scanner asks its decoder for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = staticmethod(_refuse)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own
