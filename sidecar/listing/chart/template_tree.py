"""Parse the tokens of an action into pipelines, commands and operands.

Invariants:
- Parentheses nest no deeper than DEPTH_MAX: a hostile template is refused, not followed.

Sources: Go, package text/template, "Pipelines" and "Arguments".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.listing.chart.template_tokens import Kind, TemplateFault, Token
from sidecar.quick_dataclasses import dataclass

DEPTH_MAX: Final = 30
"""Levels of parentheses; people write five."""


@dataclass(frozen=True)
class Operand:
    """A term with the fields that follow it without a blank: `$.a.b`, `(index . "x").y`, `include`, `"text"`."""

    kind: Kind
    """DOT for `.` and for a bare `.a.b`; OPERATOR for a pipeline in parentheses."""
    text: str
    fields: tuple[str, ...]
    inner: Pipeline | None
    line: int


@dataclass(frozen=True)
class Pipeline:
    """Commands, each given the value of the one before as its last argument; and the variables it sets."""

    variables: tuple[str, ...]
    commands: tuple[tuple[Operand, ...], ...]
    line: int


def parse(tokens: Sequence[Token], line: int) -> Pipeline:
    """Return the pipeline of an action's tokens, without its keyword. Raises TemplateFault."""
    reader = _Reader(tokens, line)
    pipeline = reader.pipeline(0)
    if reader.left:
        raise TemplateFault(reader.line, f"unexpected {reader.left[0].text!r} in an action")
    return pipeline


class _Reader:
    def __init__(self, tokens: Sequence[Token], line: int) -> None:
        self.left = list(tokens)
        self.left.reverse()
        self._line = line

    @property
    def line(self) -> int:
        return self.left[-1].line if self.left else self._line

    def pipeline(self, depth: int) -> Pipeline:
        if depth > DEPTH_MAX:
            raise TemplateFault(self.line, f"more than {DEPTH_MAX} levels of parentheses")
        line = self.line
        variables = self._variables()
        commands = [self._command(depth)]
        while self._takes("|"):
            commands.append(self._command(depth))
        return Pipeline(variables, tuple(commands), line)

    def _variables(self) -> tuple[str, ...]:
        """Take `$a :=`, `$a =` or `$a, $b :=` where one stands here."""
        ahead = [token.text for token in reversed(self.left[-4:])]
        if len(ahead) > 1 and ahead[0].startswith("$") and ahead[1] in (":=", "="):
            return self._take(2)[:1]
        if len(ahead) > 3 and ahead[0].startswith("$") and ahead[1] == "," and ahead[3] in (":=", "="):
            first, _, second, _ = self._take(4)
            return first, second
        return ()

    def _take(self, count: int) -> tuple[str, ...]:
        return tuple(self.left.pop().text for _ in range(count))

    def _takes(self, operator: str) -> bool:
        if self.left and self.left[-1].kind is Kind.OPERATOR and self.left[-1].text == operator:
            self.left.pop()
            return True
        return False

    def _command(self, depth: int) -> tuple[Operand, ...]:
        operands = []
        while self.left and not (self.left[-1].kind is Kind.OPERATOR and self.left[-1].text in ("|", ")")):
            operands.append(self._operand(depth))
        if not operands:
            raise TemplateFault(self.line, "a command of an action is empty")
        return tuple(operands)

    def _operand(self, depth: int) -> Operand:
        token = self.left.pop()
        inner = None
        if token.kind is Kind.OPERATOR:
            if token.text != "(":
                raise TemplateFault(token.line, f"unexpected {token.text!r} in an action")
            inner = self.pipeline(depth + 1)
            if not self._takes(")"):
                raise TemplateFault(token.line, "a parenthesis does not end")
        fields = [token.text] if token.kind is Kind.FIELD else []
        while self.left and self.left[-1].kind is Kind.FIELD and self.left[-1].glued:
            fields.append(self.left.pop().text)
        kind = Kind.DOT if token.kind is Kind.FIELD else token.kind
        return Operand(kind, "" if token.kind is Kind.FIELD else token.text, tuple(fields), inner, token.line)
