"""The picture of the demo in README: what the demo prints, and nothing from elsewhere."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sidecar.cli.demo import environment as demo
from sidecar.cli.demo import hourly

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "demo.svg"
STALE = "run: python docs/demo/record.py"
BYTES_MAX = 60_000
TEXT = "{http://www.w3.org/2000/svg}text"


def fetched(svg: str) -> list[str]:
    """Return what a browser would load from elsewhere to show the picture."""
    return re.findall(
        r"""(?:url\(\s*['"]?(?!#)|@import|href\s*=|src\s*[:=]|<(?:image|script|foreignObject)\b).{0,60}""", svg
    )


def machine(svg: str) -> list[str]:
    """Return paths and host addresses of the machine that recorded it."""
    return re.findall(r"/(?:root|home|Users|work|tmp|var|opt|usr)/\S*|\w+@\w+[:~]\S*", svg)


@pytest.fixture(scope="module")
def svg() -> str:
    return PICTURE.read_text()


@pytest.fixture(scope="module")
def lines(svg: str) -> list[str]:
    """The lines as a reader sees them."""
    texts = [element for element in ElementTree.fromstring(svg).iter(TEXT) if "textLength" in element.attrib]
    rows = groupby(texts, key=lambda element: float(element.attrib["y"]))
    return ["".join(element.text or "" for element in row).replace("\N{NO-BREAK SPACE}", " ") for _, row in rows]


def test_it_shows_each_heading_that_the_demo_prints_in_order(lines: list[str]) -> None:
    headings = [*hourly.HEADINGS, demo.CLOSING]
    assert [line for line in lines if re.match(r"Act |Done", line)] == headings, STALE


def test_it_shows_the_gate_the_product_and_one_record_id_twice(lines: list[str]) -> None:
    picture = "\n".join(lines)
    for text in ("pending (throttled)", "entitled (registered)", "denied (customer_not_entitled)", demo.STARTED):
        assert text in picture, STALE
    ids = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", picture)
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_no_line_is_wider_than_the_demos_widest(lines: list[str]) -> None:
    assert max(map(len, lines)) <= demo.COLUMNS[1]


def test_it_fetches_nothing_and_names_nothing_of_a_machine(svg: str) -> None:
    assert fetched(svg) == []
    assert machine(svg) == []
    assert len(svg.encode()) <= BYTES_MAX


@pytest.mark.parametrize(
    "foreign",
    [
        'src: url("https://cdn.example/font.woff2")',
        "fill: url( //cdn.example/paint.svg)",
        '<image href="http://cdn.example/a.png"/>',
        '@import "https://cdn.example/a.css"',
    ],
)
def test_what_would_be_fetched_is_noticed(foreign: str) -> None:
    assert fetched(foreign) != []


@pytest.mark.parametrize("path", ["/home/ann/src/sidecar", "/tmp/demo-1/ledger.db", "ann@laptop:~/src"])
def test_what_names_a_machine_is_noticed(path: str) -> None:
    assert machine(f"<text>{path}</text>") != []


def test_all_of_it_is_visible_where_animations_are_off(svg: str) -> None:
    style = svg.partition("<style>")[2].partition("</style>")[0]
    always, _, animated = style.partition("@media (prefers-reduced-motion: no-preference)")
    assert "animation" in animated
    assert "animation" not in always
    assert "opacity" not in always
