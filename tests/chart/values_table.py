"""Make the table of values in the chart's README from the comments in values.yaml.

python -m tests.chart.values_table --write
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent.parent / "helm" / "entitlement-sidecar"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"
BLOCK = re.compile(r"<!-- values -->\n.*?<!-- /values -->", re.DOTALL)
KEY = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z0-9_]+):(?P<rest>.*)")
WHOLE = frozenset({"resources", "dashboard.labels"})
"""Objects that count as one value, not as a group."""


@dataclass(frozen=True, kw_only=True)
class Value:
    path: str
    words: str
    default: object


def values() -> Iterator[Value]:
    """Yield each value in the order of the file, with the comment above it (empty where there is none)."""
    tree = yaml.safe_load(VALUES.read_text())
    above: list[str] = []
    place: list[tuple[int, str]] = []
    for line in VALUES.read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            above.append(stripped.removeprefix("#").strip())
            continue
        found = KEY.fullmatch(line)
        if found:
            depth = len(found["indent"])
            place = [one for one in place if one[0] < depth] + [(depth, found["name"])]
            path = ".".join(name for _, name in place)
            if not any(path.startswith(f"{one}.") for one in WHOLE) and _ends(tree, path):
                yield Value(path=path, words=" ".join(above), default=_at(tree, path))
        above = []


def _at(tree: Any, path: str) -> object:
    for name in path.split("."):
        tree = tree[name]
    return tree


def _ends(tree: Any, path: str) -> bool:
    found = _at(tree, path)
    return path in WHOLE or not (isinstance(found, dict) and found)


def table() -> str:
    lines = ["<!-- values -->", "| Value | Meaning | Default |", "| --- | --- | --- |"]
    for value in values():
        default = json.dumps(value.default, separators=(", ", ": "))
        words = value.words.replace("|", "\\|")
        lines.append(f"| `{value.path}` | {words} | `{default}` |")
    return "\n".join([*lines, "<!-- /values -->"])


def rewritten(text: str) -> str:
    return BLOCK.sub(lambda _: table(), text)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    README.write_text(rewritten(README.read_text()))
