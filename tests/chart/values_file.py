"""Read a chart's values.yaml: each value with its description, its default and its JSON Schema.

Invariants:
- The description follows `# --`, as helm-docs reads it. Lines above it are for those who change the file.
- Keywords of JSON Schema stand as YAML between two lines `# @schema`; those of the whole file between `# @schema.root`.
- An object with a description is one value. An object without one is a group, and each value in it has its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from sidecar.quick_dataclasses import dataclass, field

HELM = Path(__file__).parent.parent.parent / "helm"
TABLE = "<!-- values -->"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
"""Type of a default → type in JSON Schema."""
DESCRIPTION = re.compile(r"# -- (?:\((?P<type>\w+)\) )?(?P<words>.*)")


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value, or the group of all below it; `path` is empty for the file itself.

    `shape` has the keywords that the file gives, `type` the word that the comment gives for helm-docs.
    """

    path: str
    default: Any
    description: str = ""
    type: str = ""
    shape: dict[str, Any] = field(default_factory=dict)
    inner: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def null(self) -> bool:
        """Whether null is one of the value's types. Otherwise the templates rely on it."""
        return "null" in self.shape.get("type", ())


def charts() -> list[Path]:
    """Return the charts whose README has a table of values."""
    return [path.parent for path in sorted(HELM.glob("*/README.md")) if TABLE in path.read_text()]


def chosen(arguments: Sequence[str], usage: str | None) -> list[Path]:
    """Return the charts that `--write [CHART…]` names; all of ours where it names none."""
    if not arguments or arguments[0] != "--write":
        raise SystemExit(usage)
    return [Path(one) for one in arguments[1:]] or charts()


def read(chart: Path) -> Value:
    """Return the file as one group."""
    text = (chart / "values.yaml").read_text()
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    shape, _, _ = _comment(lines[: root.start_mark.line], "# @schema.root")
    inner = tuple(_inner(root, yaml.safe_load(text), lines, ""))
    return Value(path="", default=yaml.safe_load(text), shape=shape, inner=inner)


def values(group: Value) -> Iterator[Value]:
    """Yield each value below a group in the order of the file."""
    for one in group.inner:
        yield from values(one) if one.inner else (one,)


def _inner(node: yaml.MappingNode, defaults: dict[str, Any], lines: list[str], path: str) -> Iterator[Value]:
    for key, value in node.value:
        at = f"{path}{key.value}"
        default = defaults[key.value]
        shape, description, word = _comment(_above(lines, key.start_mark.line), "# @schema")
        inner: tuple[Value, ...] = ()
        if isinstance(default, dict) and default and not description:
            inner = tuple(_inner(value, default, lines, f"{at}."))
        if "type" not in shape:
            if default is None:
                raise ValueError(f"{at} is null: give its types in a comment, between two lines `# @schema`")
            shape = {"type": TYPES[type(default)], **shape}
        yield Value(path=at, default=default, description=description, type=word, shape=shape, inner=inner)


def _above(lines: list[str], line: int) -> list[str]:
    """Return the comment that ends above a line."""
    start = line
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return lines[start:line]


def _comment(lines: Sequence[str], mark: str) -> tuple[dict[str, Any], str, str]:
    """Return keywords, description and type of a comment."""
    stripped = [line.strip() for line in lines]
    shape: dict[str, Any] = {}
    marks = [at for at, line in enumerate(stripped) if line == mark]
    if marks:
        first, last = marks
        shape = yaml.safe_load("\n".join(line.removeprefix("#") for line in stripped[first + 1 : last]))
    found = [(at, DESCRIPTION.fullmatch(line)) for at, line in enumerate(stripped)]
    for at, match in found:
        if match:
            more = [line.removeprefix("#").strip() for line in stripped[at + 1 :]]
            return shape, " ".join([match["words"], *more]).strip(), match["type"] or ""
    return shape, "", ""
