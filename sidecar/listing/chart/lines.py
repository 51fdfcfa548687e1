"""Put the parts of a template together again by line: the plain text of each, and the actions that begin in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sidecar.listing.chart.template_tokens import Action, Kind, Part, Text
from sidecar.quick_dataclasses import dataclass, field


@dataclass(kw_only=True)
class Line:
    """One line of a template."""

    number: int
    text: str = ""
    """Plain text alone: an action or a comment leaves a hole."""
    actions: list[Action] = field(default_factory=list)

    def strings_of(self, functions: Collection[str]) -> Iterator[str]:
        """Yield the strings in actions that call one of `functions`."""
        for action in self.actions:
            if any(one.kind is Kind.WORD and one.text in functions for one in action.tokens):
                yield from _strings(action)


def _strings(action: Action) -> Iterator[str]:
    """Yield the strings of an action, without the names of templates and format strings."""
    before = ""
    for token in action.tokens:
        if token.kind is Kind.STRING and before not in ("include", "template", "printf"):
            yield token.text
        before = token.text


def lines(parts: Sequence[Part]) -> Sequence[Line]:
    """Return every line that has text or an action, in order."""
    found: dict[int, Line] = {}
    for part in parts:
        if isinstance(part, Action):
            found.setdefault(part.line, Line(number=part.line)).actions.append(part)
        elif isinstance(part, Text):
            for at, text in enumerate(part.text.split("\n"), part.line):
                found.setdefault(at, Line(number=at)).text += text
    return [found[number] for number in sorted(found)]
