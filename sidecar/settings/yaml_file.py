"""Read a strict YAML file as plain values.

Invariants:
- A key given twice is an error; YAML itself silently takes the last.
- No dates: a value that looks like one stays text.
- `read` may run in a forked process (`child.forked_read`): it returns plain JSON values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from sidecar.errors import Problem, SettingsError

PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))
"""Tags of the types that JSON has too; any other tag is refused."""
SIZE_MAX = 1 << 20
"""In bytes. A settings file is a page; more is a mistake."""


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

    class Strict(yaml.SafeLoader):
        """YAML that refuses a key given twice and leaves dates as text."""

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
    try:
        document = yaml.load(text, Loader=Strict)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as exc:
        raise _bad(path, f"is not YAML: {_where(exc)}") from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _bad(path, "holds no mapping of names to values.")
    return document


def key_lines(text: bytes) -> Mapping[str, int]:
    """Return the line of each key and entry, from 1: `products[0].code` → 3. Empty where the text is not YAML."""
    import yaml

    found: dict[str, int] = {}

    def add(node: object, path: str) -> None:
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


def _where(exc: Exception) -> str:
    mark = getattr(exc, "problem_mark", None)
    fault = getattr(exc, "problem", None) or "it cannot be parsed"
    return f"line {mark.line + 1}: {fault}." if mark else f"{fault}."


def _bad(path: Path, fault: str) -> SettingsError:
    return SettingsError([Problem(setting=str(path), fault=fault)])
