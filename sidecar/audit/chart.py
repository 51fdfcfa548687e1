"""Draw used and billed quantities by day as inline SVG. Pure.

Invariants:
- Each bar says its value as text; the drawing has a name. The same numbers stand in a table beside it.
- No style attribute and no script, so that the page's Content-Security-Policy needs neither.

Sources: SVG 2, sections 5.8 (title and desc) and 8.2 (viewBox); WAI-ARIA Graphics Module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from sidecar.audit.rows import units

DAYS_MAX: Final = 62
"""Days that are drawn, the newest: two months."""
HEIGHT: Final = 120
BAR: Final = 6
GAP: Final = 4
LABEL: Final = 18
"""Room for the days below the bars, in units of the drawing."""


def chart(dimension: str, days: Mapping[str, Mapping[str, int]], names: Sequence[str]) -> str:
    """Return the drawing of one dimension. `days`: day → what it is a sum of → micros; `names`: the sums to draw."""
    shown = sorted(days)[-DAYS_MAX:]
    largest = max((abs(days[day].get(name, 0)) for day in shown for name in names), default=0) or 1
    step = BAR * len(names) + GAP
    width = max(step * len(shown), 240)
    bars = "".join(_day(day, days[day], names, at * step, largest) for at, day in enumerate(shown))
    title = escape(f"{dimension}: used and billed by day, {shown[0]} to {shown[-1]}" if shown else dimension)
    return (
        f'<svg role="img" aria-label="{title}" viewBox="0 0 {width} {HEIGHT + LABEL}" width="{width}"'
        f' height="{HEIGHT + LABEL}"><title>{title}</title>{bars}'
        f'<line class="axis" x1="0" y1="{HEIGHT}" x2="{width}" y2="{HEIGHT}"/>{_labels(shown, width)}</svg>'
    )


def legend(names: Iterable[str]) -> str:
    """Return what the colours mean."""
    return "".join(f'<li><span class="key {escape(name)}"></span>{escape(name)}</li>' for name in names)


def _day(day: str, sums: Mapping[str, int], names: Sequence[str], left: int, largest: int) -> str:
    return "".join(_bar(day, name, sums.get(name, 0), left + at * BAR, largest) for at, name in enumerate(names))


def _bar(day: str, name: str, micros: int, left: int, largest: int) -> str:
    tall = max(abs(micros) * HEIGHT // largest, 1 if micros else 0)
    words = escape(f"{day}, {name}: {units(micros)}")
    return (
        f'<rect class="{escape(name)}" x="{left}" y="{HEIGHT - tall}" width="{BAR - 1}" height="{tall}">'
        f"<title>{words}</title></rect>"
    )


def _labels(shown: Sequence[str], width: int) -> str:
    if not shown:
        return ""
    first = f'<text x="0" y="{HEIGHT + LABEL - 4}">{escape(shown[0])}</text>'
    if len(shown) == 1:
        return first
    return f'{first}<text x="{width}" y="{HEIGHT + LABEL - 4}" text-anchor="end">{escape(shown[-1])}</text>'
