"""Merge the values of a chart and of those in it, and remember where each was written.

Invariants:
- A parent's value stands over that of the chart in it; `null` takes a value away.

Sources: Helm, "Subcharts and Global Values".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

from sidecar.listing.chart.chart import VALUES, Chart
from sidecar.listing.chart.yaml_text import Path, leaves
from sidecar.quick_dataclasses import dataclass, field


@dataclass(kw_only=True)
class Values:
    """Values as templates of the outermost chart see them."""

    tree: dict[str, object] = field(default_factory=dict)
    where: dict[Path, tuple[str, int]] = field(default_factory=dict)
    """Path → file and line."""

    def place(self, path: Path) -> tuple[str, int]:
        """Return file and line of a path, or of the nearest place above it."""
        while path and path not in self.where:
            path = path[:-1]
        return self.where.get(path, (VALUES, 1))

    def get(self, path: Path) -> object:
        """Return the value at a path, None where there is none."""
        value: object = self.tree
        for key in path:
            value = value.get(str(key)) if isinstance(value, dict) else None
        return value

    def mappings(self) -> Iterator[tuple[Path, Mapping[str, object]]]:
        """Yield every mapping below the outermost with its path, those in lists included."""
        left: list[tuple[Path, object]] = [((), self.tree)]
        while left:
            path, value = left.pop()
            if isinstance(value, dict):
                if path:
                    yield path, value
                left.extend(((*path, str(key)), inner) for key, inner in reversed(value.items()))
            elif isinstance(value, list):
                left.extend(((*path, at), inner) for at, inner in reversed(list(enumerate(value))))

    def leaves(self) -> Iterator[tuple[Path, object]]:
        """Yield every value that is neither mapping nor list."""
        return leaves(self.tree)


def merged(chart: Chart) -> Values:
    """Return the values of a chart with those of the charts in it."""
    values = Values()
    _add(values, chart, ())
    return values


def _add(values: Values, chart: Chart, at: tuple[str, ...]) -> None:
    for inner in chart.charts:
        for key in chart.keys_of(inner):
            _add(values, inner, (*at, key))
    own = chart.values.value
    if isinstance(own, dict):
        file = f"{chart.directory}{VALUES}"
        values.where.update({(*at, *path): (file, line) for path, line in chart.values.lines.items() if path})
        target = values.tree
        for key in at:
            inner_tree = target.setdefault(key, {})
            if not isinstance(inner_tree, dict):
                return
            target = inner_tree
        _overlay(target, own)


def _overlay(below: dict[str, object], above: Mapping[object, object]) -> None:
    for key, value in above.items():
        name = str(key)
        held = below.get(name)
        if isinstance(held, dict) and isinstance(value, dict):
            _overlay(held, value)
        elif value is None and name in below:
            del below[name]
        else:
            below[name] = copy.deepcopy(value)
