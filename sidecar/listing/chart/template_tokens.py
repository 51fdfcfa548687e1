"""Split the source of a Go template into text, comments and actions, and each action into tokens.

Invariants:
- A line number is that of the source, from 1, whatever trim markers take away.
- What Go's lexer refuses raises TemplateFault with its line: an action, a comment or a string without an end.
- The time is linear in the length of the source.

Sources: Go, package text/template ("Text and spaces", "Actions") and text/template/parse, lex.go; Helm keeps the usual
delimiters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from enum import Enum
from typing import Final

from sidecar.quick_dataclasses import dataclass

OPEN: Final = "{{"
_TRIM_OPEN: Final = re.compile(r"-[ \t\r\n]")
_CLOSE: Final = re.compile(r"[ \t\r\n]+-\}\}|[ \t\r\n]*\}\}")
_COMMENT_CLOSE: Final = re.compile(r"(?:[ \t\r\n]-)?\}\}")
_TOKEN: Final = re.compile(
    r"""
    (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<raw>`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<field>\.[^\W\d]\w*)
    | (?P<number>[+-]?\.?[0-9](?:[eEpP][+-]|[\w.])*)
    | (?P<dot>\.)
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<operator>:=|[()|,=])
    """,
    re.VERBOSE,
)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_ESCAPE: Final = re.compile(r"\\(.)")


class TemplateFault(Exception):
    """A template that Go does not parse."""

    def __init__(self, line: int, fault: str) -> None:
        super().__init__(f"line {line}: {fault}")
        self.line = line
        self.fault = fault


class Kind(Enum):
    """Kind of a token."""

    STRING = "string"
    CHAR = "char"
    FIELD = "field"
    NUMBER = "number"
    DOT = "dot"
    VARIABLE = "variable"
    WORD = "word"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Token:
    """One token of an action. `text` of a string is its content, of a field its name without the dot."""

    kind: Kind
    text: str
    line: int
    glued: bool
    """Whether it follows the token before it without a blank: `.a.b` is one operand, `.a .b` are two."""


@dataclass(frozen=True)
class Text:
    """What is copied to the output."""

    text: str
    line: int


@dataclass(frozen=True)
class Comment:
    """What stands between `{{/*` and `*/}}`."""

    text: str
    line: int


@dataclass(frozen=True)
class Action:
    """What stands between `{{` and `}}`."""

    tokens: tuple[Token, ...]
    line: int


Part = Text | Comment | Action


def split(source: str) -> tuple[Part, ...]:
    """Return the parts of a template in order. Raises TemplateFault."""
    return tuple(_Source(source).parts())


class _Source:
    def __init__(self, source: str) -> None:
        self._source = source
        self._breaks = [found.start() for found in re.finditer("\n", source)]

    def parts(self) -> Iterator[Part]:
        at = 0
        while True:
            begin = self._source.find(OPEN, at)
            text = self._source[at:] if begin < 0 else self._source[at:begin]
            if text:
                yield Text(text, self._line(at))
            if begin < 0:
                return
            part, at = self._action(begin)
            yield part

    def _line(self, at: int) -> int:
        return bisect_left(self._breaks, at) + 1

    def _action(self, begin: int) -> tuple[Part, int]:
        at = begin + len(OPEN)
        if _TRIM_OPEN.match(self._source, at):
            at += 2
        if self._source.startswith("/*", at):
            return self._comment(begin, at)
        tokens: list[Token] = []
        while True:
            close = _CLOSE.match(self._source, at)
            if close:
                return Action(tuple(tokens), self._line(begin)), close.end()
            blank = _BLANK.match(self._source, at)
            start = blank.end() if blank else at
            tokens.append(self._token(begin, start, glued=start == at and bool(tokens)))
            at = self._end

    def _comment(self, begin: int, at: int) -> tuple[Part, int]:
        end = self._source.find("*/", at + 2)
        close = _COMMENT_CLOSE.match(self._source, end + 2) if end >= 0 else None
        if close is None:
            raise TemplateFault(self._line(begin), "a comment begins here and does not end with */}}")
        return Comment(self._source[at + 2 : end], self._line(begin)), close.end()

    def _token(self, begin: int, start: int, *, glued: bool) -> Token:
        found = _TOKEN.match(self._source, start)
        if found is None:
            raise self._unexpected(begin, start)
        self._end = found.end()
        kind = found.lastgroup or ""
        text = found.group()
        if kind == "raw":
            return Token(Kind.STRING, text[1:-1], self._line(start), glued)
        if kind == "string":
            return Token(Kind.STRING, _ESCAPE.sub(r"\1", text[1:-1]), self._line(start), glued)
        return Token(Kind(kind), text.removeprefix(".") if kind == "field" else text, self._line(start), glued)

    def _unexpected(self, begin: int, start: int) -> TemplateFault:
        if start >= len(self._source):
            return TemplateFault(self._line(begin), "an action begins here and does not end with }}")
        character = self._source[start]
        if character in "\"`'":
            return TemplateFault(self._line(start), f"a string begins with {character} and does not end")
        return TemplateFault(self._line(start), f"{character!r} cannot stand in an action")
