"""Read a strict YAML file as plain values.

Invariants:
- A key given twice is an error; YAML itself silently takes the last.
- No dates: a value that looks like one stays text.
- `read` may run in a forked process (`child.forked_read`): it returns plain JSON values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.errors import Problem, SettingsError

if TYPE_CHECKING:
    import yaml

PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))
"""Tags of the types that JSON has too; any other tag is refused."""
SIZE_MAX = 1 << 20
"""In bytes. A settings file is a page; more is a mistake."""
VALUES_MAX = 1_000_000
"""With each alias written out. A file of SIZE_MAX without aliases has fewer."""
LINES_MAX = 10_000
"""Keys and entries whose line is told."""


def read(path: Path) -> Mapping[str, object]:
    """Return the mapping in a YAML file. Raises SettingsError naming file, line and fault."""
    return parse(content(path), path)


def content(path: Path) -> bytes:
    """Return the text of a YAML file. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            found = file.read(SIZE_MAX + 1)
    except OSError as exc:
        raise _bad(path, f"cannot be read: {exc.strerror}.") from exc
    if len(found) > SIZE_MAX:
        raise _bad(path, f"is larger than {SIZE_MAX} bytes.")
    return found


def parse(text: bytes, path: Path) -> Mapping[str, object]:
    """Return the mapping in YAML text. `path` is for errors alone."""
    import yaml

    try:
        document = yaml.load(text, Loader=_strict_loader())
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as exc:
        raise _bad(path, f"is not YAML: {_where(exc)}") from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _bad(path, "holds no mapping of names to values.")
    return document


@cache
def _strict_loader() -> type[yaml.SafeLoader]:
    import yaml

    class Strict(yaml.SafeLoader):
        """YAML that refuses a key given twice, leaves dates as text, and bounds what aliases stand for."""

        def get_single_node(self) -> yaml.Node | None:
            node = super().get_single_node()
            if node is not None and _written_out(node, {}) >= VALUES_MAX:
                fault = f"has {VALUES_MAX} values or more when its aliases are written out"
                raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark)
            return node

    Strict.yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in rules if tag != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    Strict.yaml_constructors = {
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag is None or tag in PLAIN
    }

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[object, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = loader.construct_object(key_node)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor("tag:yaml.org,2002:map", mapping)
    return Strict


def _written_out(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many values a node is with its aliases written out. `sizes`: of the nodes seen, by id."""
    if id(node) not in sizes:
        sizes[id(node)] = VALUES_MAX  # a node inside itself has no end
        below = node.value if isinstance(node.value, list) else []
        parts = [part for one in below for part in (one if isinstance(one, tuple) else (one,))]
        sizes[id(node)] = min(1 + sum(_written_out(part, sizes) for part in parts), VALUES_MAX)
    return sizes[id(node)]


def key_lines(text: bytes) -> Mapping[str, int]:
    """Return the line of each key and entry, from 1: `products[0].code` → 3. Empty where the text is not YAML."""
    import yaml

    found: dict[str, int] = {}

    def add(node: object, path: str) -> None:
        if len(found) >= LINES_MAX:  # aliases of aliases would be followed for ever
            return
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                below = f"{path}.{key.value}" if path else str(key.value)
                found.setdefault(below, key.start_mark.line + 1)
                add(value, below)
        elif isinstance(node, yaml.SequenceNode):
            for at, value in enumerate(node.value):
                found.setdefault(f"{path}[{at}]", value.start_mark.line + 1)
                add(value, f"{path}[{at}]")

    with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
        add(yaml.compose(text, Loader=yaml.SafeLoader), "")
    return found


def nearest_line(place: str, lines: Mapping[str, int]) -> int | None:
    """Return the line of a key of `key_lines`; of one that is missing, the line of what should have it."""
    while place and place not in lines:
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return lines.get(place)


def _where(exc: Exception) -> str:
    mark = getattr(exc, "problem_mark", None)
    fault = getattr(exc, "problem", None) or "it cannot be parsed"
    return f"line {mark.line + 1}: {fault}." if mark else f"{fault}."


def _bad(path: Path, fault: str) -> SettingsError:
    return SettingsError([Problem(setting=str(path), fault=fault)])
