"""Name what a Go template uses: fields of the release, functions, APIs that it asks for, strings.

Invariants:
- Comments and plain text count for nothing here.
- A value is followed through `with`, `range`, variables, `index`, `get`, `dict` and parentheses. What cannot be
  followed counts as a use of the whole object, never as none.
- A string that holds an action is a template too, since `tpl` may render it.

Sources: Go, package text/template; Helm, "Built-in Objects"; Sprig, "Dictionaries and Dict Functions".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from sidecar.listing.chart.template_tokens import OPEN, Action, Kind, Part, TemplateFault, Token, split
from sidecar.listing.chart.template_tree import Operand, Pipeline, parse
from sidecar.quick_dataclasses import dataclass, field

BLOCKS: Final = frozenset({"if", "with", "range", "define", "block"})
BARE: Final = frozenset({"break", "continue"})
NESTED_MAX: Final = 2
"""Templates within strings within templates."""
VARIABLES_MAX: Final = 1_000
"""Of one template: what a block is left with is a copy of them."""


class UseKind(Enum):
    """What is used."""

    RELEASE_FIELD = "a field of the release"
    RELEASE_WHOLE = "the release as a whole"
    FUNCTION = "a function or a keyword"
    API = "an API that the cluster may have"
    API_ANY = "the list of the cluster's APIs"
    STRING = "a string"


@dataclass(frozen=True)
class Use:
    """One use; `name`: the field, the function, the API, or the string itself."""

    kind: UseKind
    name: str
    line: int


class _Value(Enum):
    """What a value is, as far as the source says."""

    CONTEXT = "may have Release, Values and the rest as fields"
    RELEASE = "the release"
    CAPABILITIES = "what the cluster can do"
    API_VERSIONS = "its APIs"
    PLAIN = "anything else"


_FIELD: Final = {
    (_Value.CONTEXT, "Release"): _Value.RELEASE,
    (_Value.CONTEXT, "Capabilities"): _Value.CAPABILITIES,
    (_Value.CONTEXT, "Values"): _Value.PLAIN,
    (_Value.CONTEXT, "Chart"): _Value.PLAIN,
    (_Value.CONTEXT, "Files"): _Value.PLAIN,
    (_Value.CONTEXT, "Template"): _Value.PLAIN,
    (_Value.CAPABILITIES, "APIVersions"): _Value.API_VERSIONS,
}
_ALLOWED: Final = frozenset({"Name", "Namespace"})
_LOOKUPS: Final = frozenset({"index", "get", "hasKey"})
"""Functions whose first argument is the object and whose others are keys."""
_KEEPS: Final = frozenset(
    {"dict", "list", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite", "set", "deepCopy", "default"}
    | {"coalesce", "ternary", "first", "last", "append", "prepend", "concat", "pick", "omit", "required"}
)
"""Functions whose result may hold what they are given."""


def uses(parts: Sequence[Part], nested: int = 0) -> tuple[Use, ...]:
    """Return what a template uses, in order. Raises TemplateFault where Go would not parse it."""
    walk = _Walk(nested)
    for part in parts:
        if isinstance(part, Action):
            walk.action(part)
    walk.end()
    return tuple(walk.found)


@dataclass
class _Block:
    word: str
    line: int
    dot: _Value
    """Outside of the block's body: what `else` and `end` go back to."""
    variables: dict[str, _Value]
    """Outside of it, with what its branches may have assigned."""


@dataclass
class _Walk:
    nested: int
    found: list[Use] = field(default_factory=list)
    dot: _Value = _Value.CONTEXT
    variables: dict[str, _Value] = field(default_factory=lambda: {"$": _Value.CONTEXT})
    blocks: list[_Block] = field(default_factory=list)

    def action(self, action: Action) -> None:
        """Follow one action."""
        if not action.tokens:
            raise TemplateFault(action.line, "an action is empty")
        first, rest = action.tokens[0], action.tokens[1:]
        word = first.text if first.kind is Kind.WORD else ""
        if word in BLOCKS:
            self._open(word, rest, action.line)
        elif word == "else":
            self._else(rest, action.line)
        elif word == "end":
            self._end(action.line)
        elif word == "template":
            self._template(rest, action.line)
        elif word in BARE and not rest:
            self._use(UseKind.FUNCTION, word, first.line)
        else:
            pipeline = parse(action.tokens, action.line)
            if self._pipeline(pipeline) is _Value.RELEASE and not pipeline.variables:
                self._use(UseKind.RELEASE_WHOLE, "what is printed", action.line)

    def end(self) -> None:
        """Check that every block has its end."""
        if self.blocks:
            last = self.blocks[-1]
            raise TemplateFault(last.line, f"{{{{ {last.word} }}}} begins here and has no {{{{ end }}}}")

    def _use(self, kind: UseKind, name: str, line: int) -> None:
        self.found.append(Use(kind, name, line))

    def _open(self, word: str, rest: Sequence[Token], line: int) -> None:
        self.blocks.append(_Block(word, line, self.dot, dict(self.variables)))
        if word in ("define", "block"):
            self._named(word, rest, line)
        else:
            self._enter(word, rest, line)

    def _named(self, word: str, rest: Sequence[Token], line: int) -> None:
        if not rest or rest[0].kind is not Kind.STRING:
            raise TemplateFault(line, f"{{{{ {word} }}}} has no name")
        value = self._pipeline(parse(rest[1:], line)) if word == "block" else _Value.CONTEXT
        self.dot, self.variables = value, {"$": value}

    def _enter(self, word: str, rest: Sequence[Token], line: int) -> None:
        """Enter the body of an `if`, a `with` or a `range`."""
        pipeline = parse(rest, line)
        value = self._value(pipeline)
        if word == "range" and value is _Value.RELEASE:
            self._use(UseKind.RELEASE_WHOLE, "range", line)
            value = _Value.PLAIN
        if word == "range" and value is _Value.API_VERSIONS:
            self._use(UseKind.API_ANY, "range", line)
        self._set(pipeline, value)
        if word != "if":
            self.dot = value

    def _else(self, rest: Sequence[Token], line: int) -> None:
        if not self.blocks or self.blocks[-1].word in ("define", "block"):
            raise TemplateFault(line, "{{ else }} stands outside of if, with and range")
        block = self.blocks[-1]
        self._keep(block)
        self.dot, self.variables = block.dot, dict(block.variables)
        if rest:
            word = rest[0].text
            if word not in ("if", "with"):
                raise TemplateFault(line, f"{{{{ else {word} }}}} is no form of else")
            if word == "with":
                self._use(UseKind.FUNCTION, "else with", line)
            self._enter(word, rest[1:], line)

    def _end(self, line: int) -> None:
        if not self.blocks:
            raise TemplateFault(line, "{{ end }} ends nothing")
        block = self.blocks.pop()
        self._keep(block)
        self.dot = block.dot
        self.variables = block.variables

    def _keep(self, block: _Block) -> None:
        """Keep outside of a block what a branch of it assigned: `$r = .Release` there counts after its end."""
        if block.word not in ("define", "block"):
            for name in block.variables:
                if self.variables.get(name, _Value.PLAIN) is not _Value.PLAIN:
                    block.variables[name] = self.variables[name]

    def _template(self, rest: Sequence[Token], line: int) -> None:
        if not rest or rest[0].kind is not Kind.STRING:
            raise TemplateFault(line, "{{ template }} has no name")
        if rest[1:] and self._pipeline(parse(rest[1:], line)) is _Value.RELEASE:
            self._use(UseKind.RELEASE_WHOLE, "template", line)

    def _pipeline(self, pipeline: Pipeline) -> _Value:
        """Follow a pipeline; where it sets a variable, remember of what."""
        value = self._value(pipeline)
        self._set(pipeline, value)
        return value

    def _set(self, pipeline: Pipeline, value: _Value) -> None:
        self.variables.update(dict.fromkeys(pipeline.variables, value))
        if len(self.variables) > VARIABLES_MAX:
            raise TemplateFault(pipeline.line, f"more than {VARIABLES_MAX} variables")

    def _value(self, pipeline: Pipeline) -> _Value:
        value: _Value | None = None
        for command in pipeline.commands:
            value = self._command(command, value)
        return value or _Value.PLAIN

    def _command(self, operands: Sequence[Operand], given: _Value | None) -> _Value:
        first, arguments = operands[0], operands[1:]
        if first.kind is Kind.WORD and not first.fields and first.text not in ("true", "false", "nil"):
            self._use(UseKind.FUNCTION, first.text, first.line)
            return self._call(first, arguments, given)
        value = self._operand(first)
        if value is _Value.API_VERSIONS and first.fields[-1:] == ("Has",):
            self._has(first, arguments)
            return _Value.PLAIN
        for one in arguments:
            self._operand(one)
        return value

    def _has(self, asked: Operand, arguments: Sequence[Operand]) -> None:
        name = arguments[0].text if arguments and arguments[0].kind is Kind.STRING else ""
        self._use(UseKind.API if name else UseKind.API_ANY, name or "Has", asked.line)
        for one in arguments:
            self._operand(one)

    def _operand(self, operand: Operand) -> _Value:
        if operand.kind is Kind.STRING:
            self._string(operand)
            return _Value.PLAIN
        if operand.kind is Kind.WORD:
            if operand.text not in ("true", "false", "nil"):
                self._use(UseKind.FUNCTION, operand.text, operand.line)
            return _Value.PLAIN
        value = self._term(operand)
        for name in operand.fields:
            if value is _Value.API_VERSIONS and name == "Has":
                return value
            value = self._field(value, name, operand.line)
        return value

    def _term(self, operand: Operand) -> _Value:
        if operand.inner is not None:
            return self._value(operand.inner)
        if operand.kind is Kind.DOT:
            return self.dot
        return self.variables.get(operand.text, _Value.PLAIN)

    def _string(self, operand: Operand) -> None:
        self._use(UseKind.STRING, operand.text, operand.line)
        if OPEN in operand.text and self.nested < NESTED_MAX:
            try:
                inner = uses(split(operand.text), self.nested + 1)
            except TemplateFault:
                if ".Release" in operand.text:
                    self._use(UseKind.RELEASE_WHOLE, "a template that is put together", operand.line)
                return
            self.found.extend(Use(one.kind, one.name, operand.line) for one in inner)

    def _field(self, value: _Value, name: str, line: int) -> _Value:
        """Return what the field of a value is; "" stands for a name that the source does not say."""
        if value is _Value.RELEASE:
            if not name:
                self._use(UseKind.RELEASE_WHOLE, "a field that is not named in the source", line)
            elif name not in _ALLOWED:
                self._use(UseKind.RELEASE_FIELD, name, line)
            return _Value.PLAIN
        if value is _Value.CONTEXT:
            return _FIELD.get((value, name), _Value.CONTEXT)
        return _FIELD.get((value, name), _Value.PLAIN)

    def _call(self, function: Operand, arguments: Sequence[Operand], given: _Value | None) -> _Value:
        if function.text in _LOOKUPS:
            return self._lookup(arguments, given, function.line)
        values = [self._operand(one) for one in arguments] + ([given] if given else [])
        if _Value.RELEASE in values and not (function.text == "dict" and self._under_its_name(arguments, values)):
            self._use(UseKind.RELEASE_WHOLE, function.text, function.line)
        if _Value.API_VERSIONS in values:
            self._use(UseKind.API_ANY, function.text, function.line)
        holds = function.text in _KEEPS and {_Value.CONTEXT, _Value.RELEASE} & set(values)
        return _Value.CONTEXT if holds else _Value.PLAIN

    def _under_its_name(self, arguments: Sequence[Operand], values: Sequence[_Value]) -> bool:
        """Return whether a dict has the release as `Release` alone, where `.Release.X` is seen again."""
        held = [at for at, value in enumerate(values) if value is _Value.RELEASE]
        return all(at % 2 and at < len(arguments) and arguments[at - 1].text == "Release" for at in held)

    def _lookup(self, arguments: Sequence[Operand], given: _Value | None, line: int) -> _Value:
        """Follow `index OBJECT KEY…`. What a pipe gives is the last key, or the object where there is nothing else."""
        if not arguments:
            return given or _Value.PLAIN
        value = self._operand(arguments[0])
        for key in arguments[1:]:
            self._operand(key)
            value = self._field(value, key.text if key.kind is Kind.STRING else "", line)
        return self._field(value, "", line) if given else value
