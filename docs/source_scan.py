"""Read from the source what no table in it lists: metrics, log events and the places that name a reason.

Invariants:
- What cannot be read is an error, never an omission: a metric or an event whose name is computed raises Unreadable.
- The emulator is not read: it shares nothing with the sidecar.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
ALERTS: Final = ROOT / "helm" / "entitlement-sidecar" / "templates" / "prometheusrule.yaml"

LOGS: Final = ("log", "log.LOGGER", "LOGGER", "self.log", "self._log")
LEVELS: Final[Mapping[str, str]] = {
    "debug": "debug",
    "info": "info",
    "event": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
}
"""Function of the log → level."""
EVENT: Final = re.compile(r"[a-z_]+\.[a-z_]+")
REASON: Final = re.compile(r"[a-z]+(_[a-z]+)+")
REFUSES: Final = re.compile(r"(Error|Rejected|Refusal|Refused|refusal)$")
"""What takes a reason as one of its first arguments."""

Fields = Mapping[str, ast.expr]


class Unreadable(ValueError):
    """A call whose name is computed, so that no page could list it."""


class MetricDefinition(NamedTuple):
    """One metric, without the common prefix."""

    name: str
    kind: str
    help: str


class Alert(NamedTuple):
    """One rule of the chart's PrometheusRule, for one metric."""

    name: str
    metric: str
    labels: str
    condition: str
    lasting: str
    severity: str
    summary: str


@cache
def trees() -> Mapping[Path, ast.Module]:
    """Return the syntax tree of every module of the sidecar, by its path below the root."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "sidecar").rglob("*.py"))
    return {path: ast.parse((ROOT / path).read_text()) for path in paths if "emulator" not in path.parts}


def metrics() -> list[MetricDefinition]:
    """Return every metric that the code makes, by name."""
    found = {MetricDefinition(**one) for path, tree in trees().items() for one in constants(path, tree, _metric)}
    return sorted(found)


@cache
def metric_labels() -> dict[str, tuple[str, ...]]:
    """Return the label names of each metric that has any."""
    found: dict[str, tuple[str, ...]] = {}
    for tree in trees().values():
        for function, call in _calls(tree):
            fields = _metric(call) or {}
            match fields.get("name"):
                case ast.Constant(value=str(name)) if function:
                    found[name] = tuple(sorted(_labels(call, function)))
    return {name: labels for name, labels in found.items() if labels}


def _labels(node: ast.AST, function: ast.FunctionDef) -> set[str]:
    """Return the keys of every mapping in an expression and in the variables of the function that it uses."""
    inside = list(ast.walk(node))
    found = {
        str(key.value)
        for one in inside
        if isinstance(one, ast.Dict)
        for key in one.keys
        if isinstance(key, ast.Constant)
    }
    names = {one.id for one in inside if isinstance(one, ast.Name)}
    for one in ast.walk(function):
        if isinstance(one, ast.Assign) and {ast.unparse(target) for target in one.targets} & names:
            found |= _labels(one.value, function)
    return found


@cache
def log_events() -> dict[str, set[str]]:
    """Return every event that the code logs, with its levels."""
    found: dict[str, set[str]] = {}
    for path, tree in trees().items():
        if path.name == "log.py":
            continue  # the log itself, where every name is a parameter
        for one in constants(path, tree, _logged):
            found.setdefault(one["event"], set()).add(one["level"])
        for node in ast.walk(tree):
            # A pair of an event and what logs it: ("record.held", log.warn).
            match node:
                case ast.Tuple(elts=[ast.Constant(value=str(name)), ast.Attribute(value=base, attr=attr)]):
                    if attr in LEVELS and ast.unparse(base) in LOGS:
                        found.setdefault(name, set()).add(LEVELS[attr])
    return found


def reasons() -> dict[str, set[str]]:
    """Return every reason that the code names, with the modules that do."""
    found: dict[str, set[str]] = {}
    for path, tree in trees().items():
        for reason in _reasons(tree):
            found.setdefault(reason, set()).add(str(path))
    return found


def document_fields(*keys: str) -> list[str]:
    """Return the fields of the one object in the code that has all these keys, those inside it as `outer.inner`.

    `*` stands for keys that are not known here.
    """
    found = [fields for fields in _objects() if set(keys) <= set(fields)]
    if len(found) != 1:
        raise Unreadable(f"{len(found)} objects in the code have the fields {', '.join(keys)}")
    return found[0]


@cache
def _objects() -> tuple[list[str], ...]:
    """Return the fields of every object in the code."""
    nodes = (node for tree in trees().values() for node in ast.walk(tree))
    return tuple(list(_fields(node)) for node in nodes if isinstance(node, ast.Dict))


def _fields(node: ast.Dict) -> Iterator[str]:
    for key, value in zip(node.keys, node.values, strict=True):
        name = str(key.value) if isinstance(key, ast.Constant) else "*"
        yield name
        match value:
            case ast.Dict():
                yield from (f"{name}.{inner}" for inner in _fields(value))
            case ast.DictComp(value=ast.Dict() as each):
                yield from (f"{name}.*.{inner}" for inner in _fields(each))


def alerts() -> list[Alert]:
    """Return the alerts of the chart, in its order. Raise Unreadable where one is written another way."""
    text = ALERTS.read_text()
    rule = re.compile(
        r"- alert: (?P<name>\w+)\n\s+"
        r"expr: entitlement_sidecar_(?P<metric>\w+)\{namespace=\{\{ \.Release\.Namespace \| quote \}\}"
        r"(?:, (?P<labels>.*?))?\} (?P<condition>.+)\n\s+"
        r"for: (?P<lasting>\w+)\n\s+labels:\n\s+severity: (?P<severity>\w+)\n\s+"
        r"annotations:\n\s+summary: (?P<summary>.+)\n"
    )
    found = [Alert(**(one.groupdict("") | {})) for one in rule.finditer(text)]
    if len(found) != text.count("- alert:"):
        raise Unreadable(f"{ALERTS.name}: {text.count('- alert:')} alerts, {len(found)} of them readable")
    return found


def constants(path: Path, tree: ast.Module, fields_of: Callable[[ast.Call], Fields | None]) -> Iterator[dict[str, str]]:
    """Yield the constant fields of every call that `fields_of` reads.

    Where a field is a parameter of the function around the call, each call of that function in the module gives it.
    """
    for function, call in _calls(tree):
        fields = fields_of(call)
        if fields is None:
            continue
        missing = {name for name, value in fields.items() if not isinstance(value, ast.Constant)}
        if not missing:
            yield {name: str(value.value) for name, value in fields.items() if isinstance(value, ast.Constant)}
            continue
        parameters = [one.arg for one in function.args.args if one.arg != "self"] if function else []
        if function is None or any(ast.unparse(fields[name]) not in parameters for name in missing):
            raise Unreadable(f"{path}:{call.lineno}: {ast.unparse(call)[:120]}")
        for _, outer in _calls(tree):
            if _name(outer) == function.name:
                given = dict(zip(parameters, outer.args, strict=False)) | {
                    one.arg or "": one.value for one in outer.keywords
                }
                values = {name: given.get(ast.unparse(value), value) for name, value in fields.items()}
                if not all(isinstance(value, ast.Constant) for value in values.values()):
                    raise Unreadable(f"{path}:{outer.lineno}: {ast.unparse(outer)[:120]}")
                yield {name: str(value.value) for name, value in values.items()}  # type: ignore[attr-defined]


Call = tuple[ast.FunctionDef | None, ast.Call]
"""A call, and the function it stands in."""


@cache
def _calls(tree: ast.Module) -> tuple[Call, ...]:
    return tuple(_walk(tree, None))


def _walk(node: ast.AST, function: ast.FunctionDef | None) -> Iterator[Call]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield function, child
        yield from _walk(child, child if isinstance(child, ast.FunctionDef) else function)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _metric(call: ast.Call) -> Fields | None:
    if _name(call) in ("gauge", "counter"):
        return {"name": call.args[0], "kind": ast.Constant(_name(call)), "help": call.args[1]}
    if _name(call) != "Metric":
        return None
    return {one.arg: one.value for one in call.keywords if one.arg in MetricDefinition._fields}


def _logged(call: ast.Call) -> Fields | None:
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr not in LEVELS or ast.unparse(func.value) not in LOGS:
        return None
    return {"event": call.args[0], "level": ast.Constant(LEVELS[func.attr])}


def _reasons(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        named: list[ast.expr] = []
        match node:
            case ast.Call():
                named = [one.value for one in node.keywords if one.arg == "reason"]
                named += node.args[:3] if REFUSES.search(_name(node)) else []
            case ast.Assign(value=ast.Tuple(elts=[reason, ast.Constant(value=str(hint))])) if " " in hint:
                named = [reason]
            case ast.AnnAssign(value=ast.Tuple(elts=[reason, ast.Constant(value=str(hint))])) if " " in hint:
                named = [reason]
        for value in named:
            text = _text(value)
            if text is not None:
                keyword = isinstance(node, ast.Call) and value not in node.args
                if keyword or REASON.fullmatch(text) or not isinstance(node, ast.Call):
                    yield text


def _text(value: ast.expr) -> str | None:
    """Return a string constant, also one that is named and stands at the top of a module."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else None
    return named_texts().get(ast.unparse(value).rpartition(".")[2])


@cache
def named_texts() -> Mapping[str, str]:
    """Return every string constant that has a name in capitals at the top of a module."""
    found = {}
    for tree in trees().values():
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
                name = ast.unparse(node.target)
                if name.isupper() and isinstance(node.value.value, str):
                    found[name] = node.value.value
    return found
