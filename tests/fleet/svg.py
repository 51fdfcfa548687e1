"""Draw curves as an SVG image, the same for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

Curve = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 340, 64, 56, 48, 16
COLOURS: Final = ("#0b6e4f", "#b3541e", "#5f6b7a", "#3b5bdb", "#a61e8c")
TICKS: Final = 5


def plot(title: str, x_label: str, y_label: str, curves: Mapping[str, Curve], x_max: float, y_max: float) -> str:
    """Return an image of curves by name; points are (x, y), x grows."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        f' aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 20, title, size=14),
        *_axes(x_label, y_label, x_max, y_max),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{_x(x, x_max):.1f},{_y(y, y_max):.1f}" for x, y in thinned(curve))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        parts.append(_text(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 12 - 18 * number, name, colour=colour, anchor="end"))
    return "\n".join([*parts, "</svg>", ""])


def thinned(curve: Curve, points: int = 200) -> Curve:
    """Return about this many points of a curve, with its last."""
    step = max(1, len(curve) // points)
    return [*curve[::step], curve[-1]]


def _axes(x_label: str, y_label: str, x_max: float, y_max: float) -> list[str]:
    parts = []
    for tick in range(TICKS + 1):
        x, y = x_max * tick / TICKS, y_max * tick / TICKS
        parts.append(f'<path d="M{LEFT} {_y(y, y_max):.1f}H{WIDTH - RIGHT}" stroke="#d8dde3"/>')
        parts.append(_text(LEFT - 6, _y(y, y_max) + 4, f"{y:g}", anchor="end"))
        parts.append(_text(_x(x, x_max), HEIGHT - BOTTOM + 18, f"{x:.0f}", anchor="middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label, anchor="middle"))
    parts.append(f'<g transform="translate(14 {HEIGHT / 2:g}) rotate(-90)">{_text(0, 0, y_label, anchor="middle")}</g>')
    return parts


def _text(x: float, y: float, text: str, *, size: int = 12, colour: str = "#1f2933", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="{size}" fill="{colour}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


def _x(value: float, most: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(value / most, 1)


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value / most, 1)
