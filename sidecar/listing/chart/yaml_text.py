"""Read YAML as plain values with the line of each.

Invariants:
- Aliases are not multiplied: what would be larger than NODES_MAX is refused.
- What cannot be read raises YamlFault with its line; no other error leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.quick_dataclasses import dataclass

Path = tuple[str | int, ...]

NODES_MAX: Final = 100_000
"""Nodes of one document with every alias followed."""
DEPTH_MAX: Final = 60
"""Levels of mappings and lists."""
DIGITS_MAX: Final = 100
"""Of a number: Python prints no longer ones, and takes long to read them."""


class YamlFault(Exception):
    """Text that is no YAML, or too much of it."""

    def __init__(self, line: int, fault: str) -> None:
        super().__init__(f"line {line}: {fault}")
        self.line = line
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document: its value, and where in the text each path of it stands."""

    value: object
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the nearest place above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


EMPTY: Final = Document(value=None, lines={})


def read(text: str) -> Document:
    """Return the one document in a text. Raises YamlFault."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return EMPTY
        lines = dict(_lines(node, ()))
        return Document(value=loader.construct_document(node), lines=lines)
    except YamlFault:
        raise
    except yaml.MarkedYAMLError as exc:
        raise YamlFault(exc.problem_mark.line + 1 if exc.problem_mark else 1, exc.problem or "no YAML") from exc
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise YamlFault(1, str(exc).splitlines()[0] if str(exc) else "no YAML") from exc
    finally:
        loader.dispose()


def _lines(root: object, top: Path) -> Iterator[tuple[Path, int]]:
    """Yield each path with its line, of a key where there is one."""
    import yaml

    left: list[tuple[object, Path, int]] = [(root, top, 0)]
    count = 0
    while left:
        node, path, key_line = left.pop()
        assert isinstance(node, yaml.Node)
        count += 1
        line = key_line or node.start_mark.line + 1
        if count > NODES_MAX:
            raise YamlFault(line, f"more than {NODES_MAX} nodes, with every alias followed")
        if len(path) > DEPTH_MAX:
            raise YamlFault(line, f"more than {DEPTH_MAX} levels")
        if node.tag.endswith((":int", ":float")) and len(node.value) > DIGITS_MAX:
            raise YamlFault(line, f"a number has more than {DIGITS_MAX} digits")
        yield path, line
        if isinstance(node, yaml.MappingNode):
            left.extend((value, (*path, str(key.value)), key.start_mark.line + 1) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            left.extend((value, (*path, at), 0) for at, value in enumerate(node.value))


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield what is neither mapping nor list, with its path."""
    left: list[tuple[Path, object]] = [(path, value)]
    while left:
        where, one = left.pop()
        if isinstance(one, dict):
            left.extend(((*where, str(key)), inner) for key, inner in reversed(one.items()))
        elif isinstance(one, list):
            left.extend(((*where, at), inner) for at, inner in reversed(list(enumerate(one))))
        else:
            yield where, one
