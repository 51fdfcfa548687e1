"""Make text that others wrote safe for a terminal.

Invariants:
- A control character, a change of writing direction or half a character is written as its escape: AWS's codes, and what
  a foreign server answers, may hold sequences that move the cursor, hide lines or run commands of the terminal.

Sources: Unicode, general categories Cc, Cf, Cs, Zl and Zp; ECMA-48 (C1 controls work in UTF-8 as well).
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text with every character that does not print as its escape. Blanks and line breaks count as such."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def one_line(text: str) -> str:
    """Return the text in one line, runs of blanks and line breaks as one blank."""
    return printable(" ".join(text.split()))


def lines(text: str) -> str:
    """Return the text with its line breaks, and no other control."""
    return "\n".join(map(printable, text.split("\n")))


def json_text(document: bytes) -> bytes:
    """Return JSON, or lines of it, with every character that does not print as an escape of JSON."""
    text = document.decode("utf-8", "replace")
    return "".join(one if one.isprintable() or one in "\r\n\t" else _json_escape(one) for one in text).encode()


def _json_escape(one: str) -> str:
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))
